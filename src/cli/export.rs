//! `countersign export`: the directory as files that `import` takes.

use std::{
    fs::{self, DirBuilder, File},
    io::{self, BufWriter, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use serde_json::{Map, Value};

use super::{
    door::{Door, Settings, told},
    import::format::{self, Kind},
    on_runtime,
};
use crate::{
    directory::{Account, AddressKind, ContactStatus, Listed, Scope},
    grpc::proto::countersign::admin::v1::{ListAccountsRequest, ListContactsRequest},
};

/// Export accounts, sites, numbers and addresses of record, contacts and roles
///
/// The files are those of `countersign import`; no passphrase, count or lock is in them. Imported into an empty directory with
/// --trust-dates they make the same directory. While a sidecar runs it goes on serving, and what changes meanwhile may be there
/// or not.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  countersign export out --config countersign.toml
  countersign export out --config countersign.toml --format jsonl")]
pub(super) struct Export {
    /// A folder that is empty, or not there yet; its files can be read by their owner alone
    #[arg(value_name = "DIR")]
    path: PathBuf,
    #[command(flatten)]
    settings: Settings,
    /// The format
    #[arg(long, value_enum, default_value_t = Format::Csv)]
    format: Format,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// Six files: accounts.csv, sites.csv, …
    Csv,
    /// One file: directory.jsonl
    Jsonl,
}

impl Export {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        on_runtime(async {
            let mut files = Files::create(&self.path, self.format)?;
            let door = Door::open(&self.settings).await?;
            accounts(&door, &mut files).await?;
            contacts(&door, &mut files).await?;
            door.close().await;
            let rows = files.finish()?;
            writeln!(io::stderr(), "exported: {rows} rows to {}", self.path.display())?;
            Ok(ExitCode::SUCCESS)
        })
    }
}

async fn accounts(door: &Door, files: &mut Files) -> anyhow::Result<()> {
    let mut after = String::new();
    loop {
        let request = ListAccountsRequest { after: after.clone(), limit: PAGE };
        let page = door.service().list_accounts(request).await.map_err(told)?.into_inner().account_json;
        let Some(last) = page.last() else { return Ok(()) };
        after = serde_json::from_str::<Account>(last)?.id.to_string();
        for account in &page {
            of_account(files, &serde_json::from_str(account)?)?;
        }
    }
}

fn of_account(files: &mut Files, account: &Account) -> anyhow::Result<()> {
    let id = account.id.to_string();
    files.write(
        Kind::Account,
        &[
            id.clone(),
            account.name.clone(),
            account.primary_admin.as_ref().map(ToString::to_string).unwrap_or_default(),
            account.created.to_string(),
            account.number_moves_locked.to_string(),
            account.cpni_exemption.dedicated_representative.to_string(),
            account.cpni_exemption.contract_addresses_cpni.to_string(),
            account.marketing_approved.map(|day| day.to_string()).unwrap_or_default(),
            account.closed.map(|at| at.to_string()).unwrap_or_default(),
        ],
    )?;
    for site in &account.sites {
        files.write(Kind::Site, &[id.clone(), site.id.to_string(), site.name.clone()])?;
    }
    for number in &account.numbers_of_record {
        files.write(Kind::Number, &[id.clone(), number.number.to_string(), number.added.to_string()])?;
    }
    for known in &account.addresses_of_record {
        let kind = match known.kind {
            AddressKind::Postal => "postal",
            AddressKind::Email => "email",
        };
        let values = [id.clone(), kind.to_owned(), known.address.clone(), known.added.to_string()];
        files.write(Kind::Address, &values)?;
    }
    Ok(())
}

async fn contacts(door: &Door, files: &mut Files) -> anyhow::Result<()> {
    let mut after = String::new();
    loop {
        let request = ListContactsRequest { account_id: String::new(), after: after.clone(), limit: PAGE };
        let page = door.service().list_contacts(request).await.map_err(told)?.into_inner().contact_json;
        let Some(last) = page.last() else { return Ok(()) };
        after = serde_json::from_str::<Listed>(last)?.contact.id.to_string();
        for contact in &page {
            of_contact(files, serde_json::from_str(contact)?)?;
        }
    }
}

fn of_contact(files: &mut Files, Listed { contact, roles }: Listed) -> anyhow::Result<()> {
    let (id, account) = (contact.id.to_string(), contact.account.to_string());
    let status = match contact.status {
        ContactStatus::Active => "active",
        ContactStatus::Inactive => "inactive",
    };
    files.write(
        Kind::Contact,
        &[
            id.clone(),
            account.clone(),
            contact.first_name,
            contact.last_name,
            contact.email.unwrap_or_default(),
            contact.extension.unwrap_or_default(),
            contact.user_id.unwrap_or_default(),
            status.to_owned(),
            contact.created.to_string(),
        ],
    )?;
    for role in roles {
        let site = match role.scope {
            Scope::Company => String::new(),
            Scope::Site(site) => site.to_string(),
        };
        let values = [account.clone(), id.clone(), role.role.to_string(), site, role.granted.to_string()];
        files.write(Kind::Role, &values)?;
    }
    Ok(())
}

/// The files that are written.
struct Files {
    open: Open,
    rows: u64,
}

enum Open {
    Csv(Vec<(Kind, BufWriter<File>)>),
    Jsonl(BufWriter<File>),
}

impl Files {
    fn create(folder: &Path, format: Format) -> anyhow::Result<Self> {
        let shown = folder.display();
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .with_context(|| format!("{shown} cannot be made"))?;
        if fs::read_dir(folder).with_context(|| format!("{shown} cannot be read"))?.next().is_some() {
            bail!("{shown} is not empty, and nothing in it is overwritten");
        }
        let open = match format {
            Format::Jsonl => Open::Jsonl(new_file(&folder.join("directory.jsonl"))?),
            Format::Csv => {
                let mut files = Vec::new();
                for kind in Kind::ALL {
                    let mut file = new_file(&folder.join(kind.file()))?;
                    let (required, optional) = kind.columns();
                    writeln!(file, "{}", [required, optional].concat().join(","))?;
                    files.push((kind, file));
                }
                Open::Csv(files)
            }
        };
        Ok(Self { open, rows: 0 })
    }

    /// Writes the values of all columns, in their order.
    fn write(&mut self, kind: Kind, values: &[String]) -> anyhow::Result<()> {
        self.rows += 1;
        match &mut self.open {
            Open::Csv(files) => {
                let (_, file) = files.iter_mut().find(|(known, _)| *known == kind).context("a file for every kind")?;
                writeln!(file, "{}", format::join(values))?;
            }
            Open::Jsonl(file) => {
                let (required, optional) = kind.columns();
                let mut object = Map::new();
                object.insert(format::RECORD.to_owned(), kind.record().into());
                for (column, value) in required.iter().chain(optional).zip(values) {
                    let value = if value.is_empty() { Value::Null } else { value.as_str().into() };
                    object.insert((*column).to_owned(), value);
                }
                writeln!(file, "{}", Value::Object(object))?;
            }
        }
        Ok(())
    }

    /// Makes the files durable; returns how many rows they hold.
    fn finish(self) -> anyhow::Result<u64> {
        let files = match self.open {
            Open::Csv(files) => files.into_iter().map(|(_, file)| file).collect(),
            Open::Jsonl(file) => vec![file],
        };
        for file in files {
            file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        }
        Ok(self.rows)
    }
}

fn new_file(path: &Path) -> anyhow::Result<BufWriter<File>> {
    let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    Ok(BufWriter::new(file.with_context(|| format!("{} cannot be made", path.display()))?))
}

/// How many are asked for at once.
const PAGE: u32 = 500;
