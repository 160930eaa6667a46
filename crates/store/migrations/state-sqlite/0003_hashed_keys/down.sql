DROP TABLE uses;
DROP TABLE codes;
DROP TABLE known_origins;
DROP TABLE budgets;
