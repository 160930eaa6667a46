//! The old world of the guide: a database with two tables, and two login servers on it.

use std::sync::Arc;

use stele_old_servers::{MariadbTable, OldCloudbox, OldPortal, OldServer, PasswordFormat, TableSchema};
use stele_testservers::Mariadb;

/// The number of users that the guide's numbers are of, beside those that are named in it.
const UNNAMED_USERS: u32 = 1_200;

/// A database with the tables of the guide, and the two login servers that read it.
pub(super) struct OldServers {
    pub(super) database: Mariadb,
    pub(super) cloudbox: OldServer,
    pub(super) portal: OldServer,
}

impl OldServers {
    /// Starts them. `tables` are the statements that create the tables.
    pub(super) fn start(tables: &str) -> Self {
        let database = Mariadb::start();
        database.execute(tables);
        database.execute(&users_of_cloudbox());
        database.execute(USERS_OF_PORTAL);
        database
            .execute("CREATE USER dba@'%' IDENTIFIED BY 'dba-password'; GRANT ALL ON *.* TO dba@'%' WITH GRANT OPTION");
        let salted = TableSchema::portal(PasswordFormat::Md5PasswordSalt);
        let cloudbox = MariadbTable::new(&database.url("cloudbox"), TableSchema::cloudbox()).unwrap();
        let portal = MariadbTable::new(&database.url("portal"), salted).unwrap();
        let cloudbox = OldCloudbox::default().serve(Arc::new(cloudbox));
        let portal = OldPortal::default().serve(Arc::new(portal));
        Self { database, cloudbox, portal }
    }
}

/// The users that the guide names: four of them are refused.
fn users_of_cloudbox() -> String {
    format!(
        "USE cloudbox;
         INSERT INTO cloudbox_user (user_id, user_name, password, user_email, register_time)
             SELECT UUID(), CONCAT('user', seq), MD5(CONCAT('password-', seq)), CONCAT('user', seq, '@example.com'),
             '2016-01-01 00:00:00' FROM seq_1_to_{UNNAMED_USERS};
         UPDATE cloudbox_user SET password = MD5('123456') WHERE user_name IN ('user7', 'user8');
         INSERT INTO cloudbox_user (user_id, user_name, password, user_phone, user_email, user_real_name, status, role,
             register_time) VALUES
         ('5f1c8a52-9d3e-4c57-8a0b-1f2e3d4c5b6a', 'zhangsan', MD5('Zhang-2018'), '13800138001', 'zhangsan@example.com', '张三',
             1, 'admin', '2017-11-23 04:59:11.544126'),
         (UUID(), 'lisi', MD5('Li-2019'), '13800138002', NULL, '李四', 1, 'user', '2018-01-02 00:00:00'),
         (UUID(), 'wangwu', MD5('Wang-2020'), '13800138003', NULL, '王五', 0, 'user', '2018-01-03 00:00:00'),
         (UUID(), 'sunqi', MD5('Sun-2021'), '138-0013-8002', NULL, '孙七', 1, 'user', '2018-01-04 00:00:00'),
         (UUID(), 'zhouba', '', '13800138008', NULL, '周八', 1, 'user', '2018-01-05 00:00:00'),
         (UUID(), 'wujiu', '0123456789abcdef', '13800138009', NULL, '吴九', 1, 'user', '2018-01-06 00:00:00'),
         (UUID(), '', MD5('x'), NULL, NULL, '', 1, 'user', '2018-01-07 00:00:00');"
    )
}

/// The first is zhangsan; the last is refused.
const USERS_OF_PORTAL: &str = "USE portal;
    INSERT INTO portal_user (gid, mobile, email, passwd, salt, memo, add_time) VALUES
    ('100001', '13800138001', NULL, MD5(CONCAT('Zhang-2018', 'a1b2c3')), 'a1b2c3', '老用户', 1521525602),
    ('100002', '13900139002', NULL, MD5(CONCAT('Qian-2019', 'd4e5f6')), 'd4e5f6', '', 1521525603),
    ('100003', NULL, 'zhao@example.com', MD5(CONCAT('Zhao-2020', '778899')), '778899', '', 1521525604),
    ('100004', 'none', NULL, MD5(CONCAT('Wu-2020', 'aabbcc')), 'aabbcc', '', 1521525605);";
