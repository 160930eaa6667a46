DELETE FROM users WHERE number = 0;
