//! The login of every old server, with its lies.

use crate::fault::Lie;
use crate::password::StoredPassword;
use crate::state::State;
use crate::user::{Lookup, OldUser, TableError};

/// What a login found.
pub(crate) enum Login {
    Right(Box<OldUser>),
    WrongPassword,
    UnknownUser,
    Disabled,
}

/// Finds the user and verifies the password by `is_right`.
pub(crate) async fn log_in(
    state: &State,
    lookup: Lookup<'_>,
    lie: Lie,
    is_right: impl Fn(&OldUser) -> bool,
) -> Result<Login, TableError> {
    let found = state.table.find(lookup).await?;
    Ok(match found {
        _ if lie == Lie::RejectsAll => Login::WrongPassword,
        None if lie == Lie::AcceptsAll => Login::Right(Box::new(invented_user(lookup.value()))),
        None => Login::UnknownUser,
        Some(user) if lie != Lie::AcceptsAll && !is_right(&user) => Login::WrongPassword,
        Some(user) if user.is_disabled => Login::Disabled,
        Some(user) => Login::Right(Box::new(user)),
    })
}

/// The user as the answer to a login has it: somebody else if the server lies.
pub(crate) fn answered_user(mut user: OldUser, lie: Lie) -> OldUser {
    match lie {
        Lie::OtherId => {
            for id in [&mut user.id, &mut user.alias_id, &mut user.gid] {
                *id = another(id);
            }
        }
        Lie::OtherName => {
            for name in [&mut user.name, &mut user.phone, &mut user.email] {
                *name = another(name);
            }
        }
        Lie::None | Lie::CaptchaDemanded | Lie::AcceptsAll | Lie::RejectsAll => {}
    }
    user
}

/// A text of the same form: the last digit or letter is replaced by its neighbour.
fn another(text: &str) -> String {
    let Some(last) = text.chars().last() else { return String::new() };
    let replacement = match last {
        '0'..='8' | 'a'..='e' | 'A'..='E' => char::from_u32(u32::from(last) + 1).unwrap(),
        '9' => '0',
        _ => 'a',
    };
    let mut other = text[..text.len() - last.len_utf8()].to_owned();
    other.push(replacement);
    other
}

fn invented_user(name: &str) -> OldUser {
    let mut user = OldUser::new("1", name, StoredPassword::md5(name));
    if name.contains('@') {
        user.email = name.to_owned();
    } else if name.bytes().all(|byte| byte.is_ascii_digit()) {
        user.phone = name.to_owned();
    }
    user
}

#[cfg(test)]
mod tests {
    use super::another;

    #[test]
    fn another_id_differs_and_keeps_its_form() {
        let ids =
            ["4", "9", "0b922f14-d00b-11e7-aafd-525400bbac8e", "0b9314d8d00b11e7aafd525400bbac8f", "a@b.cn", "李"];
        let expected =
            ["5", "0", "0b922f14-d00b-11e7-aafd-525400bbac8f", "0b9314d8d00b11e7aafd525400bbac8a", "a@b.ca", "a"];
        assert_eq!(ids.map(another), expected);
    }
}
