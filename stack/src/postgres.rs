//! PostgreSQL 18: one server, the databases of the services, their roles.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::error::{Doing, Error};
use crate::parts::fingerprint;
use crate::process::{Program, last_lines};
use crate::secrets::{Secrets, random_hex, write_private};
use crate::settings;

/// The superuser, which only this crate uses.
pub(crate) const SUPERUSER: &str = "postgres";
/// The role that may SELECT everything everywhere.
pub(crate) const READER: &str = "reader";
/// Each has an owner role `<name>_owner` (migrations) and a restricted role `<name>` (the service).
pub(crate) const DATABASES: [&str; 4] = ["orders", "inventory", "payments", "provider"];

/// The store of customers' keys: a database with roles of its own, which the reader may not enter.
pub(crate) const KEYS: &str = "keys";

/// The URLs of one database.
#[derive(Debug, Clone)]
pub struct Database {
    /// Its name on the server.
    pub name: String,
    /// As the role that owns it and migrates it.
    pub owner_url: String,
    /// As the restricted role of its service: it may connect, and do what the owner grants.
    pub url: String,
    /// As the role that may read everything.
    pub reader_url: String,
}

/// What is needed to start and reach the server.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub(crate) port: u16,
    home: PathBuf,
    binaries: PathBuf,
    user: Option<(u32, u32)>,
}

impl Server {
    /// Plans a server with its data below `folder`, or elsewhere when the user it must run as may not enter `folder`.
    ///
    /// # Errors
    /// [`Error::Missing`] when we are root and the user to run as does not exist.
    pub(crate) fn new(folder: &Path, binaries: &Path, port: u16) -> Result<Self, Error> {
        let user = if settings::is_root() { Some(lookup(&settings::postgres_user())?) } else { None };
        Ok(Self { port, home: home(folder), binaries: binaries.to_owned(), user })
    }

    /// Makes the data folder at the first start; takes 0.6 s.
    ///
    /// # Errors
    /// [`Error::Fetch`] with `initdb`'s last lines.
    pub(crate) fn initialise(&self, secrets: &Secrets) -> Result<(), Error> {
        let data = self.home.join("data");
        if data.exists() {
            return Ok(());
        }
        fs::create_dir_all(&self.home).doing(|| format!("make the folder {}", self.home.display()))?;
        let scratch = self.home.join("data.new"); // renamed when it is whole
        if scratch.exists() {
            fs::remove_dir_all(&scratch).doing(|| format!("clear {}", scratch.display()))?;
        }
        let password = self.home.join("password");
        write_private(&password, secrets.role(SUPERUSER).as_bytes())?;
        let mut initdb = Command::new(self.binaries.join("bin/initdb"));
        if let Some((user, group)) = self.user {
            for path in [&self.home, &password] {
                chown(path, Some(user), Some(group)).doing(|| format!("change the owner of {}", path.display()))?;
            }
            use std::os::unix::process::CommandExt;
            initdb.uid(user).gid(group);
        }
        initdb.arg("-D").arg(&scratch).args(["-U", SUPERUSER, "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"]);
        // byte order everywhere, whatever locales the machine has
        initdb.args(["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]).arg("--pwfile").arg(&password);
        let output = initdb.current_dir(&self.home).stdin(Stdio::null()).output().doing(|| "run initdb".to_owned())?;
        if !output.status.success() {
            let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            return Err(Error::Fetch(format!("initdb ended with {}:\n{}", output.status, last_lines(&text, 15))));
        }
        fs::remove_file(&password).doing(|| format!("remove {}", password.display()))?;
        fs::rename(&scratch, &data).doing(|| format!("move {} into place", data.display()))
    }

    pub(crate) fn program(&self) -> Program {
        let mut command = vec![self.binaries.join("bin/postgres").to_string_lossy().into_owned(), "-D".to_owned()];
        command.push(self.home.join("data").to_string_lossy().into_owned());
        let settings = [
            format!("port={}", self.port),
            "listen_addresses=127.0.0.1".to_owned(),
            "unix_socket_directories=".to_owned(),
            "max_connections=200".to_owned(),
            "fsync=on".to_owned(),
            // A working set in memory, and checkpoints far apart: with the defaults of 128 MB and 1 GB a busy system meets a checkpoint every half
            // minute, and after each one every page goes whole into the log again (a quarter of the log, measured with pg_stat_wal).
            "shared_buffers=512MB".to_owned(),
            "max_wal_size=8GB".to_owned(),
            "checkpoint_timeout=15min".to_owned(),
            "log_line_prefix=%m [%p] %d ".to_owned(),
        ];
        command.extend(settings.into_iter().flat_map(|setting| ["-c".to_owned(), setting]));
        Program { command, env: Vec::new(), folder: self.home.clone(), user: self.user, end_by_quit: true }
    }

    pub(crate) fn url(&self, role: &str, password: &str, database: &str) -> String {
        format!("postgres://{role}:{password}@127.0.0.1:{}/{database}", self.port)
    }

    async fn connect(&self, secrets: &Secrets, database: &str) -> Result<PgConnection, sqlx::Error> {
        PgConnection::connect(&self.url(SUPERUSER, &secrets.role(SUPERUSER), database)).await
    }

    /// Whether the server answers a query; the reason when not.
    pub(crate) async fn check(&self, secrets: &Secrets) -> Result<(), String> {
        let answer = async {
            let mut connection = self.connect(secrets, "postgres").await?;
            sqlx::query("SELECT 1").execute(&mut connection).await?;
            connection.close().await
        };
        answer.await.map_err(|error: sqlx::Error| error.to_string())
    }

    /// Makes the services' databases and roles where they are missing, and sets the roles' passwords.
    ///
    /// # Errors
    /// [`Error::Sql`] with the refused step.
    pub(crate) async fn make_databases(&self, secrets: &Secrets) -> Result<(), Error> {
        let mut connection = self.connect(secrets, "postgres").await.doing(|| "connect to PostgreSQL".to_owned())?;
        make_role(&mut connection, READER, &secrets.role(READER)).await?;
        run(&mut connection, format!("GRANT pg_read_all_data TO {READER}")).await?;
        for name in DATABASES {
            make_owned(&mut connection, name, name, secrets).await?;
        }
        make_owned(&mut connection, KEYS, KEYS, secrets).await?;
        run(&mut connection, format!("REVOKE CONNECT ON DATABASE {KEYS} FROM {READER}")).await?;
        connection.close().await.doing(|| "disconnect from PostgreSQL".to_owned())?;
        // the simulator has no separate owner: it makes its own table
        let mut provider = self.connect(secrets, "provider").await.doing(|| "connect to database provider".to_owned())?;
        run(&mut provider, "GRANT CREATE ON SCHEMA public TO provider".to_owned()).await?;
        provider.close().await.doing(|| "disconnect from database provider".to_owned())
    }

    /// Drops a service's database, whoever is connected to it.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub(crate) async fn drop_database(&self, secrets: &Secrets, name: &str) -> Result<(), Error> {
        let mut connection = self.connect(secrets, "postgres").await.doing(|| "connect to PostgreSQL".to_owned())?;
        run(&mut connection, format!("DROP DATABASE {name} WITH (FORCE)")).await?;
        connection.close().await.doing(|| "disconnect from PostgreSQL".to_owned())
    }

    /// Copies a service's database to `<name>_saved`, in place of an earlier copy.
    ///
    /// # Errors
    /// [`Error::Sql`], also when somebody is connected.
    pub(crate) async fn copy_database(&self, secrets: &Secrets, name: &str) -> Result<(), Error> {
        let mut connection = self.connect(secrets, "postgres").await.doing(|| "connect to PostgreSQL".to_owned())?;
        run(&mut connection, format!("DROP DATABASE IF EXISTS {name}_saved WITH (FORCE)")).await?;
        run(&mut connection, format!("CREATE DATABASE {name}_saved TEMPLATE {name} OWNER {name}_owner")).await?;
        connection.close().await.doing(|| "disconnect from PostgreSQL".to_owned())
    }

    /// Puts the copy in the place of the database it was made of.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub(crate) async fn restore_database(&self, secrets: &Secrets, name: &str) -> Result<(), Error> {
        let mut connection = self.connect(secrets, "postgres").await.doing(|| "connect to PostgreSQL".to_owned())?;
        run(&mut connection, format!("DROP DATABASE {name} WITH (FORCE)")).await?;
        run(&mut connection, format!("ALTER DATABASE {name}_saved RENAME TO {name}")).await?;
        connection.close().await.doing(|| "disconnect from PostgreSQL".to_owned())
    }

    /// Makes a fresh, empty database for a test: its own name, the roles of `name`.
    ///
    /// # Errors
    /// [`Error::Sql`] with the refused step.
    pub(crate) async fn make_fresh(&self, secrets: &Secrets, name: &str) -> Result<Database, Error> {
        let unique = format!("{name}_{}", random_hex(6)?);
        let mut connection = self.connect(secrets, "postgres").await.doing(|| "connect to PostgreSQL".to_owned())?;
        // tests of one process run at once, and CREATE ROLE has no IF NOT EXISTS
        run(&mut connection, "SELECT pg_advisory_lock(1)".to_owned()).await?;
        make_owned(&mut connection, &unique, name, secrets).await?;
        connection.close().await.doing(|| "disconnect from PostgreSQL".to_owned())?;
        Ok(self.database(secrets, &unique, name))
    }

    /// The URLs of database `name` for the roles of `role`.
    pub(crate) fn database(&self, secrets: &Secrets, name: &str, role: &str) -> Database {
        let owner = format!("{role}_owner");
        Database {
            name: name.to_owned(),
            owner_url: self.url(&owner, &secrets.role(&owner), name),
            url: self.url(role, &secrets.role(role), name),
            reader_url: self.url(READER, &secrets.role(READER), name),
        }
    }
}

async fn make_owned(connection: &mut PgConnection, database: &str, role: &str, secrets: &Secrets) -> Result<(), Error> {
    let owner = format!("{role}_owner");
    make_role(connection, &owner, &secrets.role(&owner)).await?;
    make_role(connection, role, &secrets.role(role)).await?;
    let found = sqlx::query("SELECT 1 FROM pg_database WHERE datname = $1").bind(database).fetch_optional(&mut *connection).await;
    if found.doing(|| format!("look for database {database}"))?.is_none() {
        run(connection, format!("CREATE DATABASE {database} OWNER {owner}")).await?;
    }
    run(connection, format!("REVOKE ALL ON DATABASE {database} FROM PUBLIC")).await?;
    run(connection, format!("GRANT CONNECT ON DATABASE {database} TO {role}, {READER}")).await
}

async fn make_role(connection: &mut PgConnection, role: &str, password: &str) -> Result<(), Error> {
    let found = sqlx::query("SELECT 1 FROM pg_roles WHERE rolname = $1").bind(role).fetch_optional(&mut *connection).await;
    let verb = if found.doing(|| format!("look for role {role}"))?.is_none() { "CREATE" } else { "ALTER" };
    let statement = format!("{verb} ROLE {role} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD '{password}'");
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(connection).await.doing(|| format!("make role {role}")).map(drop)
}

/// Names cannot be parameters of these statements; every one that comes here is made of our own constants and [a-z0-9_].
async fn run(connection: &mut PgConnection, statement: String) -> Result<(), Error> {
    sqlx::raw_sql(AssertSqlSafe(statement.clone())).execute(connection).await.doing(|| statement).map(drop)
}

/// Where the server of a run folder keeps its data: in it, or in a system folder when we are root and the user to run as may not enter it.
pub(crate) fn home(folder: &Path) -> PathBuf {
    if settings::is_root() && !others_may_enter(folder) {
        PathBuf::from("/var/lib/saga-stack").join(format!("{:016x}", fingerprint(&folder.to_string_lossy())))
    } else {
        folder.join("postgres")
    }
}

fn others_may_enter(folder: &Path) -> bool {
    folder.ancestors().all(|ancestor| fs::metadata(ancestor).is_ok_and(|metadata| metadata.permissions().mode() & 0o001 != 0))
}

fn lookup(user: &str) -> Result<(u32, u32), Error> {
    let accounts = fs::read_to_string("/etc/passwd").doing(|| "read /etc/passwd".to_owned())?;
    let account = accounts.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        (*fields.first()? == user).then(|| Some((fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?)))?
    });
    account.ok_or_else(|| Error::Missing {
        program: format!("the user {user}"),
        remedy: "PostgreSQL refuses to run as root: name an ordinary user in STACK_POSTGRES_USER".to_owned(),
    })
}
