//! Gauge of the state store's misconfiguration.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use stele_core::ports::StateStore;
use stele_service::metrics::encode_gauge;

/// Gauge of the state store's misconfiguration.
pub(super) struct MisconfigurationCollector(pub(super) Arc<dyn StateStore>);

impl fmt::Debug for MisconfigurationCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MisconfigurationCollector")
    }
}

impl Collector for MisconfigurationCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let help = "1 while the state store responds but is misconfigured and may lose state early (see /readyz)";
        encode_gauge(&mut encoder, "stele_state_store_defective", help, self.0.misconfiguration().is_some().into())
    }
}
