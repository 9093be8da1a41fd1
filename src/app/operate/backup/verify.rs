//! Verifying: an archive is restored into a database that nobody uses, and what is there is compared with what was backed up.

use cura_backup::TableRows;
use cura_store::{Database, invariants, restores, snapshots};
use serde::Serialize;

use super::error::OperateBackupError;
use super::restore::Checked;

/// The most differences that are told.
const MAX_TOLD: usize = 10;

/// An empty database of its own, which the caller drops.
pub struct Scratch<'s> {
    /// It, without limits of time.
    pub database: &'s Database,
    /// The same, for `pg_restore`.
    pub url: &'s str,
}

/// An archive that can be restored, and holds what was backed up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// The moment that it is of.
    pub taken_at: chrono::DateTime<chrono::Utc>,
    /// The version of Cura that made it.
    pub version: String,
    /// How many tables were compared.
    pub tables: usize,
    /// How many rows they have.
    pub rows: i64,
    /// How many rules were checked.
    pub rules: usize,
    /// The objects that the database names.
    pub objects: cura_backup::ObjectCounts,
}

/// Restores an archive into `scratch` and compares.
///
/// # Errors
/// [`OperateBackupError::Differs`] if it is not what was backed up.
pub async fn verify(archive: &Checked, scratch: Scratch<'_>) -> Result<Verified, OperateBackupError> {
    let mut connection = scratch.database.session().await?;
    let program = archive
        .find_program(restores::server_major(&mut connection).await?)
        .await?;
    restores::make_schemas(&mut connection, &archive.manifest.extension_schemas).await?;
    archive.load(program, scratch.url, None).await?;
    let mut found = Vec::new();
    for table in snapshots::list_tables(&mut connection).await? {
        let rows = snapshots::count_rows(&mut connection, &table).await?;
        found.push(TableRows { table, rows });
    }
    let manifest = &archive.manifest;
    let mut wrong: Vec<String> = Vec::new();
    for expected in &manifest.tables {
        match found.iter().find(|found| found.table == expected.table) {
            Some(found) if found.rows == expected.rows => {}
            Some(found) => wrong.push(format!(
                "{} has {} rows instead of {}",
                found.table, found.rows, expected.rows
            )),
            None => wrong.push(format!("{} is missing", expected.table)),
        }
    }
    let named = invariants::count_objects(&mut connection).await?;
    if u64::try_from(named) != Ok(manifest.objects.named) {
        wrong.push(format!(
            "{named} objects are named, and {} are listed",
            manifest.objects.named
        ));
    }
    for rule in invariants::RULES {
        let (broken, example) = invariants::find_broken(&mut connection, &rule).await?;
        if let Some(id) = example {
            wrong.push(format!(
                "{broken} rows break a rule, such as that of id {id}: {}",
                rule.says
            ));
        }
    }
    if !wrong.is_empty() {
        wrong.truncate(MAX_TOLD);
        return Err(OperateBackupError::Differs(wrong.join("; ")));
    }
    Ok(Verified {
        taken_at: manifest.taken_at,
        version: manifest.cura.clone(),
        tables: manifest.tables.len(),
        rows: manifest.tables.iter().map(|table| table.rows).sum(),
        rules: invariants::RULES.len(),
        objects: manifest.objects.clone(),
    })
}
