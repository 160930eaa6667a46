//! How the connections that a process may take (`STELE_DATABASE_CONNECTIONS`) are divided among their uses.

/// The most PostgreSQL connections of each use; together the most that one [`Database`](crate::Database) takes at each
/// server. A connection counts until the server has let go of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::users) struct ConnectionLimits {
    /// Shared connections for reads of one row.
    pub(in crate::users) shared: usize,
    /// Pooled connections for writes, transactions, slow reads, and the schema check at the start.
    pub(in crate::users) pooled: usize,
}

impl ConnectionLimits {
    /// The connection that writes the audit log.
    pub(in crate::users) const AUDIT_LOG: usize = 1;

    /// Divides `total` connections, at least [`MIN`](crate::Database::MIN_CONNECTIONS): one writes the audit log, a
    /// third of the rest is shared, and the pool has what is left. A shared connection serves many reads at once, a
    /// pooled one a single call.
    pub(in crate::users) fn divide(total: usize) -> Self {
        let rest = total.saturating_sub(Self::AUDIT_LOG).max(2);
        let shared = (rest / 3).max(1);
        Self { shared, pooled: rest - shared }
    }
}

#[cfg(test)]
mod tests {
    use super::ConnectionLimits;
    use crate::Database;

    #[test]
    fn the_parts_add_up_to_the_total_and_none_is_empty() {
        for total in Database::MIN_CONNECTIONS..=1_000 {
            let ConnectionLimits { shared, pooled } = ConnectionLimits::divide(total);
            assert_eq!(shared + pooled + ConnectionLimits::AUDIT_LOG, total);
            assert!(shared >= 1 && pooled >= shared, "{total}: {shared} shared, {pooled} pooled");
        }
    }

    #[test]
    fn the_default_is_divided_as_documented() {
        let limits = ConnectionLimits::divide(Database::DEFAULT_CONNECTIONS);
        assert_eq!((limits.shared, limits.pooled), (4, 8));
    }
}
