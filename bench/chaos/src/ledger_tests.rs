use super::*;

const S: Duration = Duration::from_secs(1);

fn user() -> UserRecord {
    UserRecord::new("13800000001".to_owned(), "id".to_owned(), "first".to_owned())
}

fn unknown() -> WriteAnswer {
    WriteAnswer::Unknown(Some("request-7".to_owned()))
}

#[test]
fn an_answered_change_must_be_the_password_that_logs_in() {
    let mut user = user();
    assert_eq!(user.record_change("second".to_owned(), WriteAnswer::Done, S), None);
    assert_eq!(user.current_password(), "second");
    assert_eq!(user.record_login("second", PasswordCheck::Accepted, S), None);
    assert_eq!(user.record_login("second", PasswordCheck::Rejected, S), Some(ViolationKind::PasswordLost));
    assert_eq!(user.record_login("first", PasswordCheck::Rejected, S), None);
    assert_eq!(user.record_login("first", PasswordCheck::Accepted, S), Some(ViolationKind::ReplacedPasswordAccepted));
}

#[test]
fn a_change_refused_for_the_current_password_is_a_loss_and_other_refusals_are_not() {
    let mut user = user();
    assert_eq!(user.record_change("x".to_owned(), WriteAnswer::Refused, S), None);
    assert_eq!(user.record_change("x".to_owned(), WriteAnswer::WrongPassword, S), Some(ViolationKind::PasswordLost));
    assert_eq!(user.current_password(), "first");
}

#[test]
fn an_unknown_change_allows_either_password_until_the_new_one_is_seen() {
    let mut user = user();
    user.record_change("second".to_owned(), unknown(), S);
    assert_eq!(user.pending_passwords(), ["second"]);
    for (password, check) in [
        ("first", PasswordCheck::Accepted),
        ("second", PasswordCheck::Rejected),
        ("first", PasswordCheck::Rejected),
        ("second", PasswordCheck::Accepted),
    ] {
        assert_eq!(user.record_login(password, check, 3 * S), None, "{password} {check:?}");
    }
    assert!(user.pending_passwords().is_empty());
    assert_eq!(user.record_login("first", PasswordCheck::Accepted, S), Some(ViolationKind::ReplacedPasswordAccepted));
    assert_eq!(user.record_login("second", PasswordCheck::Rejected, S), Some(ViolationKind::PasswordLost));
}

#[test]
fn one_of_several_unknown_changes_takes_effect_and_a_later_answer_settles_all() {
    let mut user = user();
    user.record_change("second".to_owned(), unknown(), S);
    user.record_change("third".to_owned(), unknown(), 2 * S);
    assert_eq!(user.record_change("x".to_owned(), WriteAnswer::WrongPassword, 2 * S), None);
    assert_eq!(user.pending_passwords(), ["third", "second"]);
    user.record_login("second", PasswordCheck::Accepted, 3 * S);
    assert_eq!(user.current_password(), "second");
    assert_eq!(user.record_login("third", PasswordCheck::Accepted, S), Some(ViolationKind::ReplacedPasswordAccepted));
    user.record_change("fourth".to_owned(), unknown(), 4 * S);
    user.record_change("fifth".to_owned(), WriteAnswer::Done, 5 * S);
    assert_eq!(user.record_login("fourth", PasswordCheck::Accepted, S), Some(ViolationKind::ReplacedPasswordAccepted));
    let effects: Vec<_> = user.into_unknown_changes().into_iter().map(|change| (change.at, change.effect)).collect();
    let happened = Effect::Happened { after_at_least: Duration::ZERO };
    assert_eq!(effects, [(2 * S, Effect::Nothing), (S, happened), (4 * S, Effect::Nothing)]);
}

#[test]
fn unknown_changes_are_classified_by_what_logins_saw() {
    let mut user = user();
    user.record_change("second".to_owned(), unknown(), S);
    user.record_login("second", PasswordCheck::Accepted, 2 * S);
    user.record_change("third".to_owned(), unknown(), 10 * S);
    user.record_login("second", PasswordCheck::Accepted, 14 * S);
    user.record_login("third", PasswordCheck::Accepted, 30 * S);
    user.record_change("fourth".to_owned(), WriteAnswer::Unknown(None), 40 * S);
    user.record_login("third", PasswordCheck::Accepted, 60 * S);
    let effects: Vec<_> = user.into_unknown_changes().into_iter().map(|change| (change.at, change.effect)).collect();
    assert_eq!(
        effects,
        [
            (S, Effect::Happened { after_at_least: Duration::ZERO }),
            (10 * S, Effect::Happened { after_at_least: 4 * S }),
            (40 * S, Effect::Nothing),
        ]
    );
}

#[test]
fn a_session_lives_until_its_logout_is_answered_and_not_longer() {
    let user = user();
    let mut session = SessionRecord::open("t".to_owned(), 0, &user);
    assert!(session.must_be_alive(&user) && !session.must_be_dead(&user));
    assert_eq!(session.record_logout(&user, LogoutAnswer::Ended), None);
    assert!(session.must_be_dead(&user));
    assert_eq!(session.record_logout(&user, LogoutAnswer::Dead), None);
    assert_eq!(session.record_logout(&user, LogoutAnswer::Ended), Some(ViolationKind::EndedSessionAlive));
    let mut lost = SessionRecord::open("u".to_owned(), 0, &user);
    assert_eq!(lost.record_logout(&user, LogoutAnswer::Dead), Some(ViolationKind::SessionLost));
}

#[test]
fn an_unanswered_logout_allows_either_state() {
    let user = user();
    for later in [LogoutAnswer::Ended, LogoutAnswer::Dead] {
        let mut session = SessionRecord::open("t".to_owned(), 0, &user);
        assert_eq!(session.record_logout(&user, LogoutAnswer::Unknown), None);
        assert!(!session.must_be_alive(&user) && !session.must_be_dead(&user));
        assert_eq!(session.record_logout(&user, later), None);
        assert!(session.must_be_dead(&user));
    }
}

#[test]
fn a_change_of_the_password_revokes_earlier_sessions() {
    let mut user = user();
    let mut session = SessionRecord::open("t".to_owned(), 0, &user);
    user.record_change("second".to_owned(), WriteAnswer::Done, S);
    assert!(session.must_be_dead(&user));
    assert!(SessionRecord::open("u".to_owned(), 0, &user).must_be_alive(&user));
    assert_eq!(session.record_logout(&user, LogoutAnswer::Ended), Some(ViolationKind::RevokedSessionAlive));
}

#[test]
fn an_unknown_change_leaves_sessions_uncertain() {
    let mut user = user();
    let before = SessionRecord::open("t".to_owned(), 0, &user);
    user.record_change("second".to_owned(), unknown(), S);
    let meanwhile = SessionRecord::open("u".to_owned(), 0, &user);
    for session in [&before, &meanwhile] {
        assert!(!session.must_be_alive(&user) && !session.must_be_dead(&user));
    }
    user.record_login("second", PasswordCheck::Accepted, S);
    // The effect may have come before or after `meanwhile` was opened, but not before the change was sent.
    assert!(before.must_be_dead(&user));
    assert!(!meanwhile.must_be_alive(&user) && !meanwhile.must_be_dead(&user));
    user.record_change("third".to_owned(), WriteAnswer::Done, S);
    assert!(meanwhile.must_be_dead(&user));
    assert!(SessionRecord::open("v".to_owned(), 0, &user).must_be_alive(&user));
}

#[test]
fn losses_and_impossible_answers_are_distinguished() {
    assert!(ViolationKind::PasswordLost.is_loss() && ViolationKind::SessionLost.is_loss());
    assert!(!ViolationKind::ProofAcceptedTwice.is_loss() && !ViolationKind::RevokedSessionAlive.is_loss());
}
