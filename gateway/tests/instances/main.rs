//! Real services behind the real gateway, under load: killed, stopped, started again, and beside slow clients.

// Helpers may unwrap as tests may, but lints only know them for helpers of tests by these lines.
#[cfg(test)]
mod captcha;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod load;
#[cfg(test)]
mod programs;
#[cfg(test)]
mod slow;
