//! An earlier build of the product, measured beside the current one in the same rounds.

use std::net::SocketAddr;

use stele_bench_kit::Result;
use stele_bench_kit::dialect::MefpApp;

use crate::installation::{PopulationSizes, ProductBuild, ProgramStart, StoreKind, StoreServers};
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
    /// Starts the programs of `build` through `run`.
    ///
    /// # Errors
    /// If a program does not start.
    pub(crate) fn start(
        stores: &StoreServers,
        build: &ProductBuild,
        sizes: PopulationSizes,
        run: &mut impl FnMut(ProgramStart) -> Result<SocketAddr>,
    ) -> Result<Self> {
        let cloudbox = run(stores.service(build, "cloudbox-baseline", "svc-cloudbox", sizes.main_users))?;
        Ok(Self {
            cloudbox,
            portal: run(stores.service(build, "portal-baseline", "svc-portal", sizes.main_users))?,
            mefp: run(stores.service(build, "mefp-baseline", "svc-mefp", sizes.main_users))?,
            gateway: run(stores.gateway(build, "gateway-baseline", &[cloudbox], "warn"))?,
            up: run(stores.up(build, "stele-up-baseline", StoreKind::Embedded))?,
        })
    }

    /// The baseline's workloads, each the counterpart of one of the current build.
    ///
    /// # Errors
    /// If the requests of a workload cannot be prepared.
    pub(crate) fn workloads(&self, app: &MefpApp, sizes: PopulationSizes) -> Result<Vec<Workload>> {
        let connections = DEFAULT_CONNECTIONS;
        let salted = |address| LoadKind::SaltedLogins { address, connections, of: Population::Main, share: None };
        let repeated = |address, (requests, expected)| LoadKind::RepeatedRequests {
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
        let token = repeated(self.cloudbox, (workloads::unknown_token_logouts(), workloads::unknown_token_response()));
        let mefp = repeated(self.mefp, workloads::mefp_requests(sizes.main_users, app, self.mefp)?);
        Ok(vec![
            workload("salted-baseline", "baseline: salted login at the service", salted(self.cloudbox)),
            workload("salted-gateway-baseline", "baseline: salted login through the gateway", salted(self.gateway)),
            workload("token-baseline", "baseline: token check", token),
            workload("mefp-baseline", "baseline: MeFP 验证用户名", mefp),
            workload("raw-baseline", "baseline: login by password at the portal", raw),
            workload("up-baseline", "baseline: salted login through `stele up`, embedded", salted(self.up)),
        ])
    }
}
