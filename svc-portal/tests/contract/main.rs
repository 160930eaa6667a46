//! The portal's contract, spoken over HTTP to the service alone.

mod codes;
mod cross_site;
mod faults;
mod golden;
mod input;
mod login;
mod logout;
mod portal;
mod register;
mod reset;
mod send;
mod strangers;
mod work;

stele_testkit::conformance!(portal::Portal, sessions, codes);
