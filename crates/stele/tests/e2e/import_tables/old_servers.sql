-- Tables as the five old servers may have them, by the fields of their API documents, with data of our own. Hashes by Python's
-- hashlib.
SET sql_mode = '';
CREATE DATABASE cloudbox CHARACTER SET utf8mb4;
USE cloudbox;
CREATE TABLE users (
  user_id char(32) PRIMARY KEY, user_alias_id char(32), user_name varchar(64), user_real_name varchar(64), mobile varchar(20),
  email varchar(100), password char(32), role tinyint NOT NULL DEFAULT 2, enterprise_id char(36), user_group varchar(32),
  status tinyint NOT NULL DEFAULT 1, register_time datetime, deleted tinyint NOT NULL DEFAULT 0
);
INSERT INTO users VALUES
  ('0c7a3f2e9b4d4f6a8e1c5d7b9a0f3e21', '5f0e1d2c3b4a59687786958473625140', 'cb_admin', '管理员', '13900007001', 'cb_admin@cb.example',
   'dc81302a7a1a8b8c963537c92522377c', 1, '6f9619ff-8b86-d011-b42d-00cf4fc964ff', 'rentuser', 1, '2018-03-20 14:00:02', 0),
  ('1c7a3f2e9b4d4f6a8e1c5d7b9a0f3e22', NULL, 'cb_张三', '张三', '13900007002', NULL, 'DC81302A7A1A8B8C963537C92522377C', 2, NULL, NULL, 1,
   '0000-00-00 00:00:00', 0),
  ('2c7a3f2e9b4d4f6a8e1c5d7b9a0f3e23', NULL, 'cb_locked', NULL, NULL, NULL, 'dc81302a7a1a8b8c963537c92522377c', 2, NULL, NULL, 0, NULL, 0),
  ('3c7a3f2e9b4d4f6a8e1c5d7b9a0f3e24', NULL, 'cb_gone', NULL, NULL, NULL, 'dc81302a7a1a8b8c963537c92522377c', 2, NULL, NULL, 1, NULL, 1);
CREATE DATABASE tms CHARACTER SET utf8mb4;
USE tms;
CREATE TABLE tms_user (
  id int AUTO_INCREMENT PRIMARY KEY, username varchar(64), phone varchar(20), password varchar(64), role_name varchar(20),
  created_at bigint, is_deleted tinyint NOT NULL DEFAULT 0
);
INSERT INTO tms_user VALUES
  (3, 'tms_driver', '13900008001', '4f04b74c439cd60871ec360dfbcf12fe', 'user', 1521525602, 0),
  -- The person of cloudbox, by the phone number.
  (4, 'tms_zhangsan', '13900007002', '4f04b74c439cd60871ec360dfbcf12fe', 'user', 1521525602, 0),
  (5, 'tms_new', '13900008003', NULL, 'admin', 0, 0);
CREATE DATABASE portal CHARACTER SET utf8mb4;
USE portal;
CREATE TABLE portal_user (
  id int AUTO_INCREMENT PRIMARY KEY, user_name varchar(64), mobile varchar(20), email varchar(100), password varchar(128),
  real_name varchar(64), org_id varchar(64), memo text, create_ms bigint, state varchar(16) NOT NULL DEFAULT 'normal'
);
INSERT INTO portal_user VALUES
  (1, NULL, '13900009001', NULL, 'cG9ydGFsLVBhNTU=', '钱七', 'ORG-1', '备注', 1521525602000, 'normal'),
  (2, 'portal_md5', NULL, 'md5@portal.example', '8b42e6312dd99913f14ae6f3a78152b4', NULL, NULL, NULL, NULL, 'normal'),
  (3, 'portal_locked', NULL, NULL, 'cG9ydGFsLVBhNTU=', NULL, NULL, NULL, NULL, 'locked');
CREATE DATABASE mefp CHARACTER SET utf8mb4;
USE mefp;
CREATE TABLE users (
  uid int AUTO_INCREMENT PRIMARY KEY, login_name varchar(20) UNIQUE, nick_name varchar(64), avatar varchar(255), sex tinyint,
  passwd char(32) NOT NULL, reg_app varchar(32), reg_time datetime, locked tinyint NOT NULL DEFAULT 0
);
INSERT INTO users VALUES
  (1, '13900010001', '小明🎈', 'https://mefp.example/1.png', 1, '5df0a6e659f0ad773b1e4982ab8e0914', 'melink', '2019-05-06 07:08:09', 0),
  (2, '13900007002', NULL, NULL, NULL, '5df0a6e659f0ad773b1e4982ab8e0914', 'melink', NULL, 0);
CREATE DATABASE jwt CHARACTER SET utf8mb4;
USE jwt;
CREATE TABLE sys_user (
  user_id bigint PRIMARY KEY, account varchar(64), name varchar(64), phone varchar(20), email varchar(100), gender varchar(4),
  department varchar(64), role_name varchar(16), pwd_hash char(64), pwd_salt varchar(32), created_at datetime, is_enabled tinyint
);
INSERT INTO sys_user VALUES
  (1234567890123456789, 'jwt_admin', '孙八', '13900011001', 'jwt@jwt.example', '女', '研发部', '管理员',
   '79783bc29290da5e9a9bd64ab2986353e00102656d0b4bd1c851ef0544f36669', 'jwtsalt', '2021-01-01 09:00:00', 1),
  (1234567890123456790, 'jwt_off', NULL, NULL, NULL, NULL, NULL, 'user',
   '79783bc29290da5e9a9bd64ab2986353e00102656d0b4bd1c851ef0544f36669', 'jwtsalt', NULL, 0);
