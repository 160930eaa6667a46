-- Tables of Discuz! X3.5 (install/data/install.sql and UCenter's), shortened by columns of forums, with data of our own. Hashes by
-- PHP 8.2: md5(md5($password) . $salt) and password_hash.
CREATE DATABASE discuz CHARACTER SET utf8mb4;
USE discuz;
SET sql_mode = '';
CREATE TABLE pre_ucenter_members (
  uid mediumint(8) unsigned NOT NULL AUTO_INCREMENT,
  username char(15) NOT NULL DEFAULT '',
  `password` varchar(255) NOT NULL DEFAULT '',
  secmobicc varchar(3) NOT NULL DEFAULT '',
  secmobile varchar(12) NOT NULL DEFAULT '',
  email varchar(255) NOT NULL DEFAULT '',
  myid char(30) NOT NULL DEFAULT '',
  myidkey char(16) NOT NULL DEFAULT '',
  regip varchar(45) NOT NULL DEFAULT '',
  regdate int(10) unsigned NOT NULL DEFAULT '0',
  lastloginip int(10) NOT NULL DEFAULT '0',
  lastlogintime int(10) unsigned NOT NULL DEFAULT '0',
  salt varchar(20) NOT NULL DEFAULT '',
  secques char(8) NOT NULL DEFAULT '',
  PRIMARY KEY (uid),
  UNIQUE KEY username (username),
  KEY email (email(40))
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
CREATE TABLE pre_common_member (
  uid mediumint(8) unsigned NOT NULL AUTO_INCREMENT,
  email varchar(255) NOT NULL DEFAULT '',
  username char(15) NOT NULL DEFAULT '',
  `password` varchar(255) NOT NULL DEFAULT '',
  `status` tinyint(1) NOT NULL DEFAULT '0',
  adminid tinyint(1) NOT NULL DEFAULT '0',
  groupid smallint(6) unsigned NOT NULL DEFAULT '0',
  regdate int(10) unsigned NOT NULL DEFAULT '0',
  PRIMARY KEY (uid),
  UNIQUE KEY username (username)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
CREATE TABLE pre_common_member_profile (
  uid mediumint(8) unsigned NOT NULL,
  realname varchar(255) NOT NULL DEFAULT '',
  gender tinyint(1) NOT NULL DEFAULT '0',
  telephone varchar(255) NOT NULL DEFAULT '',
  mobile varchar(255) NOT NULL DEFAULT '',
  PRIMARY KEY (uid)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
INSERT INTO pre_ucenter_members (uid, username, password, email, regdate, salt) VALUES
  (1, 'dz_admin', '5e52db60d5571ed80f4dd2f614473797', 'admin@dz.example', 1268000000, 'a1b2c3'),
  (2, '水手', 'ec53a1d490ee73682c6e0f175fd9ec5d', 'sailor@dz.example', 0, '9f8e7d'),
  (3, 'dz_x35', '$2y$10$n5MW3KyeKsDNtvBndRVNEe3dV5ZQ6WvsOgOzcIZIxLNa4yoHDoP6q', 'x35@dz.example', 1700000000, ''),
  (4, 'dz_banned', '5e52db60d5571ed80f4dd2f614473797', '', 1300000000, 'a1b2c3'),
  -- Only in UCenter: has never opened the forum.
  (5, 'dz_uc', '5e52db60d5571ed80f4dd2f614473797', 'uc@dz.example', 1300000000, 'a1b2c3');
INSERT INTO pre_common_member (uid, username, email, adminid, groupid) VALUES
  (1, 'dz_admin', 'admin@dz.example', 1, 1), (2, '水手', 'sailor@dz.example', 0, 10), (3, 'dz_x35', 'x35@dz.example', 0, 10),
  (4, 'dz_banned', '', 0, 5);
INSERT INTO pre_common_member_profile (uid, realname, gender, mobile) VALUES
  (1, '管理员', 1, '13900002001'), (2, '李四', 2, '+86 139-0000-2002'), (3, '', 0, '');
