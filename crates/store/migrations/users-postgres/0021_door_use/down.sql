DROP TABLE door_closures;
DROP TABLE user_door;
DROP TABLE door_use;
