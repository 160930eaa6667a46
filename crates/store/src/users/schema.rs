//! Tables of the users' database, equal in both backends. Times are microseconds since the Unix epoch.

diesel::table! {
    users (number) {
        number -> BigInt,
        id -> Binary,
        name -> Nullable<Text>,
        phone -> Nullable<Text>,
        email -> Nullable<Text>,
        registered_with -> Nullable<Text>,
        registered_through -> Text,
        registered_at -> BigInt,
        alias_id -> Text,
        role -> SmallInt,
        disabled -> Bool,
        real_name -> Text,
        gender -> Nullable<Text>,
        nickname -> Text,
        avatar_url -> Text,
        enterprise -> Text,
        group_name -> Text,
        organization -> Text,
        department -> Text,
        description -> Text,
        org_id -> Text,
        memo -> Text,
        verifier -> Text,
        seal_key_id -> Nullable<BigInt>,
        sealed -> Nullable<Binary>,
        epoch -> BigInt,
        salted_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    identifiers (key) {
        key -> Text,
        number -> BigInt,
    }
}

diesel::table! {
    apps (name) {
        name -> Text,
        seal_key_id -> BigInt,
        sealed -> Binary,
        may_token -> Text,
        created_at -> BigInt,
    }
}

diesel::table! {
    client_tokens (name) {
        name -> Text,
        hash -> Binary,
        created_at -> BigInt,
    }
}

diesel::table! {
    keys (name) {
        name -> Text,
        seal_id -> Nullable<BigInt>,
        probe -> Nullable<Binary>,
        added_at -> BigInt,
        works_from -> BigInt,
    }
}

diesel::table! {
    facts (name) {
        name -> Text,
        value -> BigInt,
    }
}

diesel::table! {
    used_proofs (key) {
        key -> Binary,
        expires -> BigInt,
    }
}

diesel::table! {
    listed_passwords (key) {
        key -> BigInt,
    }
}

diesel::table! {
    audit (at, source, seq) {
        at -> BigInt,
        source -> BigInt,
        seq -> BigInt,
        act -> Text,
        proof -> Nullable<Text>,
        purpose -> Nullable<Text>,
        result -> Text,
        times -> BigInt,
        dialect -> Nullable<Text>,
        app -> Nullable<Text>,
        subject_kind -> Nullable<Text>,
        subject -> Nullable<Text>,
        address -> Nullable<Text>,
        request -> Nullable<Text>,
        operator -> Nullable<Text>,
        first_at -> Nullable<BigInt>,
        origins -> Nullable<BigInt>,
    }
}

diesel::table! {
    import_runs (id) {
        id -> BigInt,
        source -> Text,
        fingerprint -> Binary,
        started_at -> BigInt,
        updated_at -> BigInt,
        finished_at -> Nullable<BigInt>,
        undone_at -> Nullable<BigInt>,
        cursor -> BigInt,
        added -> BigInt,
        same -> BigInt,
        merged -> BigInt,
        refused -> BigInt,
        passwords_looked_up -> BigInt,
        common_passwords -> BigInt,
        other_hashes -> BigInt,
    }
}

diesel::table! {
    import_rows (run, position) {
        run -> BigInt,
        position -> BigInt,
        line -> Nullable<BigInt>,
        old_id -> Text,
        outcome -> SmallInt,
        refusal -> Nullable<Text>,
    }
}

diesel::table! {
    legacy_ids (source, id) {
        source -> Text,
        id -> Text,
        number -> BigInt,
        run -> BigInt,
        position -> BigInt,
        content -> Binary,
        merged -> Bool,
        dialect -> Nullable<Text>,
        key -> Nullable<Text>,
        answer -> Nullable<Text>,
        old_number -> Nullable<BigInt>,
        derived_number -> Nullable<BigInt>,
    }
}

diesel::table! {
    oauth_resources (name) {
        name -> Text,
        audience -> Text,
        legacy_tokens -> Text,
        secret -> Binary,
        secret_created_at -> BigInt,
        previous_secret -> Nullable<Binary>,
        previous_created_at -> Nullable<BigInt>,
        previous_expires_at -> Nullable<BigInt>,
        created_at -> BigInt,
    }
}

diesel::table! {
    oauth_clients (id) {
        id -> Text,
        grants -> Text,
        resources -> Text,
        subject_types -> Text,
        scopes -> Text,
        algorithm -> Text,
        redirect_uris -> Text,
        secret -> Binary,
        secret_created_at -> BigInt,
        previous_secret -> Nullable<Binary>,
        previous_created_at -> Nullable<BigInt>,
        previous_expires_at -> Nullable<BigInt>,
        created_at -> BigInt,
    }
}

diesel::table! {
    oauth_client_resources (resource, client) {
        resource -> Text,
        client -> Text,
    }
}

diesel::table! {
    door_use (day, dialect, client, proof) {
        day -> BigInt,
        dialect -> Text,
        client -> Text,
        proof -> Text,
        logins -> BigInt,
        users -> BigInt,
        first_at -> BigInt,
        last_at -> BigInt,
    }
}

diesel::table! {
    user_door (dialect, user_id, client, proof) {
        dialect -> Text,
        user_id -> Binary,
        client -> Text,
        proof -> Text,
        first_at -> BigInt,
        last_at -> BigInt,
        last_day -> BigInt,
        days -> BigInt,
    }
}

diesel::table! {
    door_closures (id) {
        id -> BigInt,
        kind -> Text,
        dialect -> Text,
        client -> Nullable<Text>,
        starts_at -> BigInt,
        ends_at -> Nullable<BigInt>,
        created_at -> BigInt,
        operator -> Text,
        canceled_at -> Nullable<BigInt>,
    }
}

diesel::joinable!(legacy_ids -> users (number));
diesel::allow_tables_to_appear_in_same_query!(legacy_ids, users);
diesel::allow_tables_to_appear_in_same_query!(legacy_ids, identifiers);
diesel::joinable!(identifiers -> users (number));
diesel::allow_tables_to_appear_in_same_query!(identifiers, users);
diesel::allow_tables_to_appear_in_same_query!(facts, users);
diesel::allow_tables_to_appear_in_same_query!(user_door, users);
