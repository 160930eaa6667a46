-- fa_user of FastAdmin 1.5 (application/admin/command/Install/fastadmin.sql) with data of our own. Hashes by PHP 8.2:
-- md5(md5($password) . $salt).
CREATE DATABASE fastadmin CHARACTER SET utf8mb4;
USE fastadmin;
CREATE TABLE `fa_user` (
  `id` int unsigned NOT NULL AUTO_INCREMENT COMMENT 'ID',
  `group_id` int unsigned NOT NULL DEFAULT '0' COMMENT '组别ID',
  `username` varchar(32) DEFAULT '' COMMENT '用户名',
  `nickname` varchar(50) DEFAULT '' COMMENT '昵称',
  `password` varchar(32) DEFAULT '' COMMENT '密码',
  `salt` varchar(30) DEFAULT '' COMMENT '密码盐',
  `email` varchar(100) DEFAULT '' COMMENT '电子邮箱',
  `mobile` varchar(11) DEFAULT '' COMMENT '手机号',
  `avatar` varchar(255) DEFAULT '' COMMENT '头像',
  `level` tinyint unsigned NOT NULL DEFAULT '0' COMMENT '等级',
  `gender` tinyint unsigned NOT NULL DEFAULT '0' COMMENT '性别',
  `birthday` date DEFAULT NULL COMMENT '生日',
  `bio` varchar(100) DEFAULT '' COMMENT '格言',
  `money` decimal(10,2) NOT NULL DEFAULT '0.00' COMMENT '余额',
  `score` int NOT NULL DEFAULT '0' COMMENT '积分',
  `prevtime` bigint DEFAULT NULL COMMENT '上次登录时间',
  `logintime` bigint DEFAULT NULL COMMENT '登录时间',
  `loginip` varchar(50) DEFAULT '' COMMENT '登录IP',
  `loginfailure` tinyint unsigned NOT NULL DEFAULT '0' COMMENT '失败次数',
  `joinip` varchar(50) DEFAULT '' COMMENT '加入IP',
  `jointime` bigint DEFAULT NULL COMMENT '加入时间',
  `createtime` bigint DEFAULT NULL COMMENT '创建时间',
  `updatetime` bigint DEFAULT NULL COMMENT '更新时间',
  `token` varchar(50) DEFAULT '' COMMENT 'Token',
  `status` varchar(30) DEFAULT '' COMMENT '状态',
  `verification` varchar(255) DEFAULT '' COMMENT '验证',
  PRIMARY KEY (`id`),
  KEY `username` (`username`),
  KEY `email` (`email`),
  KEY `mobile` (`mobile`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COMMENT='会员表';
INSERT INTO fa_user (id, username, nickname, password, salt, email, mobile, gender, jointime, createtime, status) VALUES
  (1, 'fa_admin', '管理员🙂', 'f01cdc2b40f8e281052cb3a65b817b62', 'f0Ebc2', 'admin@fa.example', '13900006001', 1, 1491635035, 1491635000, 'normal'),
  (2, 'fa_zh', '', '5d56d17a97020dfa58b0b6dfcb8e3f26', 'Zk29dd', NULL, '13900006002', 0, NULL, 1491635000, 'normal'),
  (3, 'fa_hidden', '', 'f01cdc2b40f8e281052cb3a65b817b62', 'f0Ebc2', '', '', 0, NULL, NULL, 'hidden'),
  -- The phone of the first, as FastAdmin's table does not forbid.
  (4, 'fa_double', '', 'f01cdc2b40f8e281052cb3a65b817b62', 'f0Ebc2', '', '13900006001', 0, NULL, NULL, 'normal');
