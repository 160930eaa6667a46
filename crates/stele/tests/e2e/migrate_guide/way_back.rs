//! The guide's `back.sql` on names that `LOAD DATA` reads in another way by default.

use std::process::{Command, Stdio};

use stele_testservers::Mariadb;

use super::{PAGE, TRANSLATION};
use crate::client::md5_hex;
use crate::guide::document::{blocks_of, read_page};
use crate::support::Installation;

/// Names with a backslash, a quote and a comma, in the order of their ids; the last one is an ordinary name.
const NAMES: [&str; 5] = [r"x,\", r"y\", r#"a"b,\"c"#, r"\Nina", "lisi"];

fn block(page: &str, name: &str) -> String {
    let blocks = blocks_of(&read_page(page));
    blocks.into_iter().find(|block| block.name == name).unwrap_or_else(|| panic!("{page} has no {name}")).text
}

fn id(index: usize) -> String {
    format!("00000000-0000-4000-8000-00000000000{index}")
}

#[test]
#[ignore = "needs MariaDB"]
fn passwords_go_back_to_users_with_backslashes_in_their_names() {
    let database = Mariadb::start();
    database.execute(&block(PAGE, "tables.sql"));
    let mut users = String::from("user_id,user_name,password\r\n");
    for (index, name) in NAMES.iter().enumerate() {
        let (id, digest) = (id(index), md5_hex("old"));
        let literal = name.replace('\\', r"\\");
        database.execute(&format!(
            "INSERT INTO cloudbox.cloudbox_user (user_id, user_name, password, register_time)
             VALUES ('{id}', '{literal}', '{digest}', '2020-01-01')"
        ));
        users += &format!("{id},\"{}\",{digest}\r\n", name.replace('"', "\"\""));
    }
    let installation = Installation::new();
    installation.run(&["migrate"]).assert_success();
    std::fs::write(installation.path("back.toml"), block(PAGE, "back.toml")).unwrap();
    std::fs::write(installation.path("users.csv"), users).unwrap();
    let source = ["--source", "cloudbox", "--map", "back.toml"];
    installation.run(&[&["import", "run"][..], &source, &["users.csv"]].concat()).assert_success();
    for (index, name) in NAMES.iter().enumerate() {
        let args = ["user", "passwd", name, "--password-stdin"];
        installation.run_with(&args, &format!("password-{index}")).assert_success();
    }
    let export = [&["export"][..], &source, &["--changed", "--with-digests", "--exact"]].concat();
    let exported = installation.run_with(&export, "yes\n").assert_success().stdout.clone();
    std::fs::write(installation.path("back.csv"), exported).unwrap();
    for page in [PAGE, TRANSLATION] {
        database.execute(&format!("UPDATE cloudbox.cloudbox_user SET password = '{}'", md5_hex("old")));
        let statements = installation.path("back.sql");
        std::fs::write(&statements, block(page, "back.sql")).unwrap();
        let changed = mysql(&database, &installation, &["--local-infile=1", "cloudbox"], Some(&statements));
        assert_eq!(changed.lines().count(), NAMES.len(), "{page}: {changed}");
        let query = "--execute=SELECT user_id, password FROM cloudbox.cloudbox_user ORDER BY user_id";
        let rows = mysql(&database, &installation, &[query], None);
        let expected: Vec<_> =
            (0..NAMES.len()).map(|index| format!("{}\t{}", id(index), md5_hex(&format!("password-{index}")))).collect();
        assert_eq!(rows.lines().collect::<Vec<_>>(), expected, "{page}");
    }
}

/// What the client prints, without the names of the columns.
fn mysql(database: &Mariadb, installation: &Installation, args: &[&str], input: Option<&std::path::Path>) -> String {
    let port = format!("--port={}", database.port());
    let input = input.map_or_else(Stdio::null, |path| std::fs::File::open(path).unwrap().into());
    let output = Command::new("mysql")
        .args(["--no-defaults", "--host=127.0.0.1", &port, "--user=root", "--skip-column-names"])
        .args(args)
        .stdin(input)
        .current_dir(installation.path("."))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}
