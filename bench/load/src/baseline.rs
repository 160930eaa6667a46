//! An earlier build of the product, measured beside the current one in the same rounds.

use std::net::SocketAddr;

use stele_bench_kit::Result;
use stele_bench_kit::dialect::MefpApp;

use crate::installation::{PopulationSizes, ProductBuild, ProgramStart, StoreKind, TestStores};
use crate::test_bed::{DEFAULT_CONNECTIONS, RAW_LOGIN_CONNECTIONS, workload};
use crate::workloads::{self, LoadKind, Population, Workload};

/// Addresses of the earlier build's programs.
pub(crate) struct Baseline {
    cloudbox: SocketAddr,
    portal: SocketAddr,
    mefp: SocketAddr,
    gateway: SocketAddr,
    up: SocketAddr,
}

impl Baseline {
    /// Starts the programs of `build`, each by a call of `start_program`.
    ///
    /// # Errors
    /// If a program does not start.
    pub(crate) fn start(
        stores: &TestStores,
        build: &ProductBuild,
        sizes: PopulationSizes,
        start_program: &mut impl FnMut(ProgramStart) -> Result<SocketAddr>,
    ) -> Result<Self> {
        let cloudbox = start_program(stores.service(build, "cloudbox-baseline", "svc-cloudbox", sizes.main_users))?;
        Ok(Self {
            cloudbox,
            portal: start_program(stores.service(build, "portal-baseline", "svc-portal", sizes.main_users))?,
            mefp: start_program(stores.service(build, "mefp-baseline", "svc-mefp", sizes.main_users))?,
            gateway: start_program(stores.gateway(build, "gateway-baseline", &[cloudbox], "warn"))?,
            up: start_program(stores.up(build, "stele-up-baseline", StoreKind::Embedded))?,
        })
    }

    /// The baseline's workloads, each the counterpart of one of the current build.
    ///
    /// # Errors
    /// If the requests of a workload cannot be prepared.
    pub(crate) fn workloads(&self, app: &MefpApp, sizes: PopulationSizes) -> Result<Vec<Workload>> {
        let connections = DEFAULT_CONNECTIONS;
        let salted_logins =
            |address| LoadKind::SaltedLogins { address, connections, population: Population::Main, share: None };
        let repeated_requests = |address, (requests, expected)| LoadKind::RepeatedRequests {
            address,
            connections,
            requests,
            expected: Box::new(expected),
        };
        let raw = LoadKind::RawLogins {
            address: self.portal,
            connections: RAW_LOGIN_CONNECTIONS,
            requests: workloads::raw_login_requests(sizes.main_users, app),
        };
        let token =
            repeated_requests(self.cloudbox, (workloads::unknown_token_logouts(), workloads::unknown_token_response()));
        let mefp = repeated_requests(self.mefp, workloads::mefp_requests(sizes.main_users, app, self.mefp)?);
        Ok(vec![
            workload("salted-baseline", "baseline: salted login at the service", salted_logins(self.cloudbox)),
            workload(
                "salted-gateway-baseline",
                "baseline: salted login through the gateway",
                salted_logins(self.gateway),
            ),
            workload("token-baseline", "baseline: token check", token),
            workload("mefp-baseline", "baseline: MeFP 验证用户名", mefp),
            workload("raw-baseline", "baseline: login by password at the portal", raw),
            workload("up-baseline", "baseline: salted login through `stele up`, embedded", salted_logins(self.up)),
        ])
    }
}
