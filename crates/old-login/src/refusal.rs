//! Reads the failure of a login: the documents of cloudbox, TMS and JWT have no list of codes, so a failure can mean more
//! than a wrong password. Whatever says that it is about something else must not count as one.

use crate::exchange::Reply;

/// The server wants a captcha or a code.
const CHALLENGE_WORDS: [&str; 3] = ["验证码", "captcha", "verification code"];
/// The account or the client is locked or has to wait, or the password has expired.
const LOCK_WORDS: [&str; 9] =
    ["频繁", "过多", "锁定", "稍后", "过期", "too many", "locked", "expired", "try again later"];
/// A lock is only announced: the password is wrong.
const ATTEMPTS_LEFT_WORDS: [&str; 9] =
    ["将被", "将锁定", "再错", "还剩", "还有", "剩余", "attempts left", "attempts remaining", "will be locked"];
/// The password is wrong.
const WRONG_PASSWORD_WORDS: [&str; 4] = ["密码错误", "密码不正确", "密码有误", "password"];
/// The server refuses for another reason: a token, the clock, an error of its own.
const OTHER_WORDS: [&str; 11] =
    ["token", "令牌", "授权", "时间戳", "重复", "系统", "服务器", "异常", "timestamp", "unauthorized", "internal"];

/// Reads the failure of a login with this dialect code and message. The text of the result has the code and never the
/// message, which may name the user.
pub(crate) fn read_refusal(code: &str, message: &str) -> Reply {
    let message = message.to_lowercase();
    let has_any = |words: &[&str]| words.iter().any(|word| message.contains(word));
    let is_locked = has_any(&LOCK_WORDS) && !has_any(&ATTEMPTS_LEFT_WORDS);
    if has_any(&CHALLENGE_WORDS) {
        Reply::Challenge
    } else if has_any(&WRONG_PASSWORD_WORDS) && !is_locked {
        Reply::No
    } else if is_locked || has_any(&OTHER_WORDS) {
        // The code is of the server's own and short, or it is not worth a line.
        let code: String = code.chars().filter(char::is_ascii_alphanumeric).take(16).collect();
        Reply::Refused(format!("it refuses the login with code {code}, and not for a wrong password"))
    } else {
        Reply::No
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_failure_about_user_or_password_is_a_no() {
        for (message, expected) in [
            ("用户名或密码错误", "no"),
            ("没有此用户", "no"),
            ("", "no"),
            ("Wrong user or password", "no"),
            ("密码错误，再错3次将被锁定", "no"),
            ("Wrong password, 2 attempts left before the account is locked", "no"),
            ("密码错误次数过多，账号已锁定，请30分钟后再试", "refused"),
            ("Too many password attempts, try again later", "refused"),
            ("Password expired", "refused"),
            ("请输入验证码", "challenge"),
            ("用户名、密码或验证码错误", "challenge"),
            ("Captcha required", "challenge"),
            ("操作过于频繁", "refused"),
            ("账号已锁定，请稍后再试", "refused"),
            ("token无效", "refused"),
            ("时间戳已过期", "refused"),
            ("重复的请求", "refused"),
            ("系统异常", "refused"),
            ("Internal error", "refused"),
        ] {
            let actual = match read_refusal("1\n0 02", message) {
                Reply::No => "no",
                Reply::Challenge => "challenge",
                Reply::Refused(text) => {
                    assert_eq!(text, "it refuses the login with code 1002, and not for a wrong password");
                    "refused"
                }
                Reply::Yes { .. } | Reply::Malformed(_) => unreachable!(),
            };
            assert_eq!(actual, expected, "{message}");
        }
    }
}
