//! Migrations run while people chat: none may close a table for longer than a moment. Read as text, by a parser of
//! Postgres' SQL, so that a migration is refused before anybody runs it.

use std::path::Path;

use squawk_linter::{Linter, Rule};
use squawk_syntax::ast::{AlterTableAction, AstNode as _, Constraint, Stmt};
use squawk_syntax::{Parse, SourceFile};

/// The first migration that has to obey; the others ran before there was a rule, and a migration that ran never changes.
const FIRST_HELD: u32 = 13;

/// What breaks the rule and stays, with the reason. All of it ran when its tables were small.
const STAYS: [(&str, &str); 9] = [
    ("0001_queue_indexes.up.sql", "indexes on jobs, before there was a job"),
    (
        "0004_account_safety.up.sql",
        "indexes on sessions and users, before there was a user",
    ),
    (
        "0005_account_data.up.sql",
        "an index on conversations, before there was a user",
    ),
    (
        "0006_answer_safety.up.sql",
        "indexes on running answers, of which there are few",
    ),
    (
        "0008_keys_outlive_messages.up.sql",
        "checks foreign keys at once: keys live for a day, they are few",
    ),
    (
        "0009_running_answers.up.sql",
        "rewrites messages for a stored column: the reason for this rule",
    ),
    (
        "0010_plain_names.up.sql",
        "renames words in jobs, of which few wait at a deploy",
    ),
    (
        "0011_plain_words.up.sql",
        "renames a word in conversations, in one transaction",
    ),
    (
        "0012_released_attempts.up.sql",
        "renames a column, and a word in attempts",
    ),
];

/// What is asked of each statement, and what to write instead.
const RULES: [(Rule, &str); 12] = [
    (
        Rule::AddingFieldWithDefault,
        "add the column without that default, then fill it in batches (see below)",
    ),
    (
        Rule::AddingRequiredField,
        "add the column without NOT NULL, or with a constant DEFAULT",
    ),
    (
        Rule::AddingNotNullableField,
        "ADD CONSTRAINT … CHECK (… IS NOT NULL) NOT VALID, VALIDATE it in the next migration, then SET NOT NULL",
    ),
    (
        Rule::AddingSerialPrimaryKeyField,
        "CREATE UNIQUE INDEX CONCURRENTLY, then ADD CONSTRAINT … PRIMARY KEY USING INDEX",
    ),
    (
        Rule::AddingForeignKeyConstraint,
        "ADD CONSTRAINT … FOREIGN KEY … NOT VALID, and VALIDATE CONSTRAINT in the next migration",
    ),
    (
        Rule::ConstraintMissingNotValid,
        "ADD CONSTRAINT … NOT VALID, and VALIDATE CONSTRAINT in the next migration",
    ),
    (
        Rule::DisallowedUniqueConstraint,
        "CREATE UNIQUE INDEX CONCURRENTLY, then ADD CONSTRAINT … UNIQUE USING INDEX",
    ),
    (
        Rule::ChangingColumnType,
        "a new column beside the old one, filled in batches; drop the old one in a later release",
    ),
    (
        Rule::RequireConcurrentIndexCreation,
        "CREATE INDEX CONCURRENTLY, alone in a file that begins with `-- no-transaction`",
    ),
    (
        Rule::RequireConcurrentIndexDeletion,
        "DROP INDEX CONCURRENTLY, alone in a file that begins with `-- no-transaction`",
    ),
    (
        Rule::RenamingColumn,
        "servers of the last release still read the old name: add a column, and drop the old one in a later release",
    ),
    (
        Rule::RenamingTable,
        "servers of the last release still read the old name",
    ),
];

/// Why these statements are refused as a whole, and what to write instead.
fn refused(statement: &Stmt, in_transaction: bool) -> Option<&'static str> {
    const BATCHES: &str = "a whole table in one transaction: fill it in batches, by a job, or by a `DO` block that commits each batch, alone in a \
         file that begins with `-- no-transaction`";
    match statement {
        Stmt::Update(_) | Stmt::Delete(_) | Stmt::Merge(_) => Some(BATCHES),
        Stmt::Do(block) => {
            let text = block.syntax().to_string().to_lowercase();
            let commits = !in_transaction && text.contains("commit");
            let writes = ["update ", "delete ", "merge "].iter().any(|word| text.contains(word));
            (writes && !commits).then_some(BATCHES)
        }
        Stmt::AlterTable(table) => table.actions().find_map(|action| match action {
            AlterTableAction::AddColumn(column) => column.constraints().find_map(|constraint| match constraint {
                Constraint::CheckConstraint(_) | Constraint::ReferencesConstraint(_) => Some(
                    "a column that is added with a CHECK or a reference reads the whole table: add the column, then ADD CONSTRAINT … \
                     NOT VALID, and VALIDATE CONSTRAINT in the next migration",
                ),
                _ => None,
            }),
            _ => None,
        }),
        Stmt::Lock(_) => Some("LOCK TABLE keeps everybody out"),
        Stmt::Vacuum(vacuum) if vacuum.syntax().to_string().to_lowercase().contains("full") => {
            Some("VACUUM FULL rewrites the table and keeps everybody out")
        }
        Stmt::Cluster(_) => Some("CLUSTER rewrites the table and keeps everybody out"),
        Stmt::Truncate(_) => Some("TRUNCATE keeps everybody out"),
        Stmt::Reindex(_) => Some("REINDEX keeps writers out: make another index CONCURRENTLY, and drop this one"),
        _ => None,
    }
}

/// What is wrong with a migration, each with what to write instead.
fn faults(sql: &str) -> Vec<String> {
    let in_transaction = !sql.starts_with("-- no-transaction");
    let parsed: Parse<SourceFile> = SourceFile::parse(sql);
    let mut faults: Vec<String> = parsed.errors().iter().map(ToString::to_string).collect();
    let mut linter = Linter::from(RULES.map(|(rule, _)| rule));
    linter.settings.assume_in_transaction = in_transaction;
    for violation in linter.lint(&parsed, sql) {
        let instead = RULES.iter().find(|(rule, _)| *rule == violation.code);
        faults.push(format!(
            "{} Write: {}",
            violation.message,
            instead.map_or("", |(_, instead)| instead)
        ));
    }
    let statements: Vec<Stmt> = parsed.tree().stmts().collect();
    faults.extend(
        statements
            .iter()
            .filter_map(|statement| refused(statement, in_transaction))
            .map(str::to_owned),
    );
    let is_concurrent = |statement: &Stmt| statement.syntax().to_string().to_lowercase().contains("concurrently");
    if in_transaction && statements.iter().any(is_concurrent) {
        faults.push("CONCURRENTLY is impossible in a transaction: begin the file with `-- no-transaction`".to_owned());
    }
    if !in_transaction && statements.len() != 1 {
        // Several are sent as one, and Postgres runs what is sent as one in a transaction.
        faults.push("a file that begins with `-- no-transaction` holds exactly one statement".to_owned());
    }
    faults
}

fn number(name: &str) -> u32 {
    name.split('_')
        .next()
        .and_then(|number| number.parse().ok())
        .expect("a number before the name")
}

#[test]
fn no_migration_closes_a_table_for_longer_than_a_moment() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../migrations"));
    let mut broken = Vec::new();
    let mut older = std::collections::BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if !name.ends_with(".up.sql") {
            continue;
        }
        let faults = faults(&std::fs::read_to_string(&path).unwrap());
        if number(&name) >= FIRST_HELD {
            broken.extend(faults.iter().map(|fault| format!("{name}: {fault}")));
        } else if !faults.is_empty() {
            older.insert(name);
        }
    }
    assert!(
        broken.is_empty(),
        "see \"Migrations\" in docs/CONTRIBUTING.md:\n{}",
        broken.join("\n")
    );
    let stays = STAYS.map(|(name, _reason)| name.to_owned());
    assert_eq!(older, stays.into_iter().collect(), "a migration that ran was changed");
}

#[test]
fn each_way_to_close_a_table_is_refused() {
    for bad in [
        "ALTER TABLE messages ADD COLUMN seq bigint NOT NULL;",
        "ALTER TABLE messages ADD COLUMN seen timestamptz DEFAULT clock_timestamp();",
        "ALTER TABLE messages ADD COLUMN long boolean GENERATED ALWAYS AS (length(content) > 9) STORED;",
        "ALTER TABLE messages ALTER COLUMN model SET NOT NULL;",
        "ALTER TABLE messages ALTER COLUMN attempt TYPE bigint;",
        "ALTER TABLE messages ADD COLUMN seq bigint CHECK (seq > 0);",
        "ALTER TABLE messages ADD COLUMN session_id bigint REFERENCES sessions;",
        "ALTER TABLE messages ADD CONSTRAINT c CHECK (attempt >= 0);",
        "ALTER TABLE messages ADD CONSTRAINT c FOREIGN KEY (parent_id) REFERENCES messages;",
        "ALTER TABLE messages ADD CONSTRAINT c UNIQUE (parent_id);",
        "ALTER TABLE tickets ADD PRIMARY KEY (user_id);",
        "ALTER TABLE messages RENAME COLUMN model TO name;",
        "ALTER TABLE messages RENAME TO texts;",
        "CREATE INDEX i ON messages (model);",
        "DROP INDEX i;",
        // In a transaction, which is not possible.
        "CREATE INDEX CONCURRENTLY i ON messages (model);",
        "-- no-transaction\nCREATE INDEX CONCURRENTLY i ON messages (model); CREATE INDEX CONCURRENTLY j ON messages (provider);",
        "UPDATE messages SET model = 'm';",
        "UPDATE messages SET model = 'm' WHERE model IS NULL;",
        "DELETE FROM events;",
        "DO $$ BEGIN UPDATE messages SET model = 'm'; END $$;",
        "-- no-transaction\nDO $$ BEGIN UPDATE messages SET model = 'm'; END $$;",
        "VACUUM FULL messages;",
        "CLUSTER messages USING messages_pkey;",
        "TRUNCATE events;",
        "REINDEX TABLE messages;",
        "LOCK TABLE messages;",
        "ALTER TABLE messages ADD COLUMN",
    ] {
        assert!(!faults(bad).is_empty(), "{bad}");
    }
}

#[test]
fn what_takes_a_moment_is_allowed() {
    for good in [
        "ALTER TABLE messages ADD COLUMN end_seq bigint;",
        "ALTER TABLE messages ADD COLUMN priority integer NOT NULL DEFAULT 0;",
        "ALTER TABLE messages ADD CONSTRAINT c CHECK (attempt >= 0) NOT VALID;",
        "ALTER TABLE messages VALIDATE CONSTRAINT c;",
        "ALTER TABLE messages ADD CONSTRAINT c FOREIGN KEY (parent_id) REFERENCES messages NOT VALID;",
        "ALTER TABLE messages DROP CONSTRAINT c;",
        "ALTER TABLE messages DROP COLUMN old;",
        "CREATE TABLE news (id bigint PRIMARY KEY, user_id bigint NOT NULL REFERENCES users ON DELETE CASCADE, word text CHECK (word <> ''));
         CREATE INDEX news_user_id_idx ON news (user_id);",
        "-- no-transaction\nCREATE INDEX CONCURRENTLY i ON messages (model);",
        "-- no-transaction\nDROP INDEX CONCURRENTLY i;",
        "-- no-transaction\nDO $$ BEGIN LOOP UPDATE messages SET model = 'm' WHERE id IN (SELECT id FROM messages WHERE model IS NULL LIMIT 1000); EXIT WHEN NOT FOUND; COMMIT; END LOOP; END $$;",
    ] {
        assert_eq!(faults(good), Vec::<String>::new(), "{good}");
    }
}
