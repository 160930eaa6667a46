//! An earlier build of the product, measured beside the current one in the same rounds.

use std::net::SocketAddr;

use stele_bench_kit::Result;
use stele_bench_kit::dialect::App;

use crate::lanes::{self, Lane, Population, Work};
use crate::running::{CONNECTIONS, RAW, lane};
use crate::site::{Build, Sizes, Start, Stores};

/// The addresses of the earlier build's programs.
pub(crate) struct Baseline {
    cloudbox: SocketAddr,
    portal: SocketAddr,
    mefp: SocketAddr,
    gateway: SocketAddr,
    up: SocketAddr,
}

impl Baseline {
    /// Starts the programs of `build` by `run`.
    ///
    /// # Errors
    /// If one does not start.
    pub(crate) fn start(
        stores: &Stores,
        build: &Build,
        sizes: Sizes,
        run: &mut impl FnMut(Start) -> Result<SocketAddr>,
    ) -> Result<Self> {
        let cloudbox = run(stores.service(build, "cloudbox-baseline", "svc-cloudbox", sizes.users))?;
        Ok(Self {
            cloudbox,
            portal: run(stores.service(build, "portal-baseline", "svc-portal", sizes.users))?,
            mefp: run(stores.service(build, "mefp-baseline", "svc-mefp", sizes.users))?,
            gateway: run(stores.gateway(build, "gateway-baseline", &[cloudbox], "warn"))?,
            up: run(stores.up(build, "stele-up-baseline", false))?,
        })
    }

    /// The lanes that lead to it; each has a twin of the current build.
    ///
    /// # Errors
    /// If what they need cannot be made.
    pub(crate) fn lanes(&self, app: &App, sizes: Sizes) -> Result<Vec<Lane>> {
        let connections = CONNECTIONS;
        let salted = |address| Work::Logins { address, connections, of: Population::Main, share: None };
        let again = |address, (requests, expected)| Work::Again {
            address,
            connections,
            requests,
            expected: Box::new(expected),
        };
        let raw = Work::Raw { address: self.portal, connections: RAW, requests: lanes::raw(sizes.users, app) };
        let token = again(self.cloudbox, (lanes::dead_tokens(), lanes::dead_answer()));
        let mefp = again(self.mefp, lanes::mefp(sizes.users, app, self.mefp)?);
        Ok(vec![
            lane("salted-baseline", "baseline: salted login at the service", salted(self.cloudbox)),
            lane("salted-gateway-baseline", "baseline: salted login through the gateway", salted(self.gateway)),
            lane("token-baseline", "baseline: token check", token),
            lane("mefp-baseline", "baseline: MeFP 验证用户名", mefp),
            lane("raw-baseline", "baseline: login by password at the portal", raw),
            lane("up-baseline", "baseline: salted login through `stele up`, embedded", salted(self.up)),
        ])
    }
}
