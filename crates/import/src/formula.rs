//! Formulas in exported CSV (CSV injection, OWASP): a spreadsheet computes a field that starts like one, and what a user
//! entered as a name would run on the machine of the operator.

use std::borrow::Cow;

/// The field with a leading `'`, if a spreadsheet would compute it. Numbers with a sign, such as phone numbers, are no
/// formulas.
pub fn neutralize_formula(field: &str) -> Cow<'_, str> {
    let starts_like_formula = field.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠']);
    let is_number = field
        .strip_prefix(['+', '-'])
        .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'));
    if starts_like_formula && !is_number { Cow::Owned(format!("'{field}")) } else { Cow::Borrowed(field) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_start_like_formulas_are_text() {
        for field in
            ["=1+1", "=cmd|' /C calc'!A0", "+1+1", "-1-1", "@SUM(A1)", "\t=1", "\r=1", "+", "-", "＝1", "+86 138"]
        {
            assert_eq!(neutralize_formula(field), format!("'{field}"));
        }
        for field in ["", "a=1", "+8613800138000", "-1.5", "'=1", "1-1", "user@example.com"] {
            assert_eq!(neutralize_formula(field), field);
        }
    }
}
