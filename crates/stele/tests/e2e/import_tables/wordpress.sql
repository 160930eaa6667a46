-- Tables of WordPress 6.8 (wp-admin/includes/schema.php) with data of our own. Hashes: `$P$` by passlib, `$wp$` by PHP 8.2 with
-- the code of wp_hash_password, md5 by hashlib.
CREATE DATABASE wordpress CHARACTER SET utf8mb4;
USE wordpress;
SET sql_mode = '';
CREATE TABLE wp_users (
  ID bigint(20) unsigned NOT NULL auto_increment,
  user_login varchar(60) NOT NULL default '',
  user_pass varchar(255) NOT NULL default '',
  user_nicename varchar(50) NOT NULL default '',
  user_email varchar(100) NOT NULL default '',
  user_url varchar(100) NOT NULL default '',
  user_registered datetime NOT NULL default '0000-00-00 00:00:00',
  user_activation_key varchar(255) NOT NULL default '',
  user_status int(11) NOT NULL default '0',
  display_name varchar(250) NOT NULL default '',
  PRIMARY KEY  (ID),
  KEY user_login_key (user_login),
  KEY user_nicename (user_nicename),
  KEY user_email (user_email)
) DEFAULT CHARACTER SET utf8mb4;
CREATE TABLE wp_usermeta (
  umeta_id bigint(20) unsigned NOT NULL auto_increment,
  user_id bigint(20) unsigned NOT NULL default '0',
  meta_key varchar(255) default NULL,
  meta_value longtext,
  PRIMARY KEY  (umeta_id),
  KEY user_id (user_id),
  KEY meta_key (meta_key(191))
) DEFAULT CHARACTER SET utf8mb4;
INSERT INTO wp_users (ID, user_login, user_pass, user_nicename, user_email, user_registered, display_name) VALUES
  (1, 'wp_admin', '$wp$2y$10$YicAEq3/i0H4uX4E34oRaO3nTcXQcYueKU0AiElTkjnGvT83rrngG', 'wp_admin', 'admin@wp.example', '2024-11-05 08:30:00', '站长 👨‍💻'),
  (2, 'wp_old', '$P$Bz0HmKVLfFTqGQOsweEtIrj6Z.Y3Q51', 'wp_old', 'old@wp.example', '0000-00-00 00:00:00', '王五'),
  (3, 'wp_quote', '$P$BIYrMUTgjaVlz.hxL9H.1bGOkVWbW0/', 'wp_quote', 'quote@wp.example', '2012-02-29 23:59:59', 'it\'s me'),
  (4, 'wp_sql', '792a5df675edddf4f5a17e4a6a080a0a', 'wp_sql', 'sql@wp.example', '2010-01-01 00:00:00', ''),
  (5, 'mail@wp.example', '$P$Bz0HmKVLfFTqGQOsweEtIrj6Z.Y3Q51', 'mail', 'mail@wp.example', '2020-01-01 00:00:00', ''),
  -- Twice, as some plugins leave it.
  (6, 'wp_old', '$P$Bz0HmKVLfFTqGQOsweEtIrj6Z.Y3Q51', 'wp_old-2', 'old2@wp.example', '2020-01-01 00:00:00', ''),
  (7, 'wp_empty', '', 'wp_empty', 'empty@wp.example', '2020-01-01 00:00:00', '');
INSERT INTO wp_usermeta (user_id, meta_key, meta_value) VALUES
  (1, 'wp_capabilities', 'a:1:{s:13:"administrator";b:1;}'),
  (1, 'billing_phone', '139 0000 1001'),
  (2, 'wp_capabilities', 'a:1:{s:10:"subscriber";b:1;}'),
  (2, 'billing_phone', NULL);
