DROP TRIGGER sessions_ended;
DROP TRIGGER sessions_opened;
DROP TABLE session_counts;
DROP INDEX sessions_by_user;
