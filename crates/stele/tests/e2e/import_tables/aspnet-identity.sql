-- Tables of ASP.NET Core Identity in MySQL (Pomelo's migration), shortened by those of claims and logins, with data of our own.
-- Hashes by Python's hashlib in the format of PasswordHasher.
CREATE DATABASE identity CHARACTER SET utf8mb4;
USE identity;
CREATE TABLE `AspNetUsers` (
  `Id` varchar(255) NOT NULL,
  `UserName` varchar(256) DEFAULT NULL,
  `NormalizedUserName` varchar(256) DEFAULT NULL,
  `Email` varchar(256) DEFAULT NULL,
  `NormalizedEmail` varchar(256) DEFAULT NULL,
  `EmailConfirmed` bit(1) NOT NULL,
  `PasswordHash` longtext DEFAULT NULL,
  `SecurityStamp` longtext DEFAULT NULL,
  `ConcurrencyStamp` longtext DEFAULT NULL,
  `PhoneNumber` longtext DEFAULT NULL,
  `PhoneNumberConfirmed` bit(1) NOT NULL,
  `TwoFactorEnabled` bit(1) NOT NULL,
  `LockoutEnd` datetime(6) DEFAULT NULL,
  `LockoutEnabled` bit(1) NOT NULL,
  `AccessFailedCount` int(11) NOT NULL,
  PRIMARY KEY (`Id`),
  UNIQUE KEY `UserNameIndex` (`NormalizedUserName`),
  KEY `EmailIndex` (`NormalizedEmail`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
CREATE TABLE `AspNetRoles` (
  `Id` varchar(255) NOT NULL,
  `Name` varchar(256) DEFAULT NULL,
  `NormalizedName` varchar(256) DEFAULT NULL,
  `ConcurrencyStamp` longtext,
  PRIMARY KEY (`Id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
CREATE TABLE `AspNetUserRoles` (
  `UserId` varchar(255) NOT NULL,
  `RoleId` varchar(255) NOT NULL,
  PRIMARY KEY (`UserId`, `RoleId`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
INSERT INTO AspNetUsers VALUES
  ('15a79fd3-4fb8-4ba2-8f6b-f616e86eb2e9', 'id_admin@id.example', 'ID_ADMIN@ID.EXAMPLE', 'id_admin@id.example', 'ID_ADMIN@ID.EXAMPLE', 1,
   'AQAAAAIAAYagAAAAEHzjw2xebaUn9dOGJ7bpTa4P5X3kEJgsnHXkDGo7TEtTvLFyDpBa8L6sgxmP4lFDsA==', 'S', 'C', '13900004001', 1, 0, NULL, 1, 0),
  ('768f45e9-2bba-46f9-917d-923c0888eb91', 'id_old', 'ID_OLD', NULL, NULL, 0,
   'AQAAAAEAACcQAAAAEIGpmv1dusSQx2qTwgLNgIRsXL21RSpYNNfeSJ5le09TtOKlg6nPQnUGOMi+iAv7Ug==', 'S', 'C', NULL, 0, 0, '2020-01-01 00:00:00', 1, 0),
  ('800987fc-e227-4641-b044-a4305a241c06', 'id_v2', 'ID_V2', 'v2@id.example', 'V2@ID.EXAMPLE', 1,
   'AB3/8dhjE6SWNcU8VqtIk2uJx8XVsv1ok6zr30/ekYQn60vVq7zPYFrKbNgWUIjjfg==', 'S', 'C', NULL, 0, 0, NULL, 0, 0),
  ('a2df0463-aad5-4db1-94e8-e93599202cc5', 'id_locked', 'ID_LOCKED', 'locked@id.example', 'LOCKED@ID.EXAMPLE', 1,
   'AB3/8dhjE6SWNcU8VqtIk2uJx8XVsv1ok6zr30/ekYQn60vVq7zPYFrKbNgWUIjjfg==', 'S', 'C', NULL, 0, 0, '9999-12-31 23:59:59', 1, 0),
  ('e911c64f-e263-4ee8-8c17-1ea6d99561a0', 'id_google', 'ID_GOOGLE', 'google@id.example', 'GOOGLE@ID.EXAMPLE', 1,
   NULL, 'S', 'C', NULL, 0, 0, NULL, 1, 0);
INSERT INTO AspNetRoles VALUES ('b183c834-3e9a-49af-986a-00b526a881ad', 'Admin', 'ADMIN', NULL);
INSERT INTO AspNetUserRoles VALUES ('15a79fd3-4fb8-4ba2-8f6b-f616e86eb2e9', 'b183c834-3e9a-49af-986a-00b526a881ad');
