DROP TABLE listed_passwords;
