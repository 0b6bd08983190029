//! Package sources against a real server on 127.0.0.1 that misbehaves on demand, the real rpm, and the real podman.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::too_many_lines,
    clippy::match_same_arms,
    reason = "a test fails by panicking, tells its story in one piece, and its server has an arm for each answer"
)]

mod rpms;
mod server;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use realtime_core::api::realtime_profile::{PackageImage, PackageSource, PackageUrl, PackagesSpec};
use realtime_core::conditions::reason;
use realtime_core::kernel::{Offered, Wanted};
use realtime_node_daemon::host::Host;
use realtime_node_daemon::sources::{Limits, cache, download, prepare_within};
use realtime_testing::skip;
use sha2::{Digest as _, Sha256};

use rpms::Package;
use server::Server;

const EL9: &str = "427.13.1.el9_4";

/// A host with the real rpm, and limits for a test.
struct Node {
    folder: tempfile::TempDir,
    host: Host,
    limits: Limits,
}

impl Node {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (root, commands) = (folder.path().join("root"), folder.path().join("commands"));
        fs::create_dir(&root).unwrap();
        fs::create_dir(&commands).unwrap();
        rpms::script(&commands, "rpm", rpms::RPM_SCRIPT);
        Self {
            host: Host::new(root, Some(commands)),
            folder,
            limits: Limits {
                reserve: 0,
                connect: Duration::from_secs(30),
                stall: Duration::from_secs(30),
                ..Limits::default()
            },
        }
    }

    fn commands(&self) -> PathBuf {
        self.folder.path().join("commands")
    }

    async fn offered(&self, packages: PackagesSpec) -> Offered {
        let wanted = Wanted {
            realtime: true,
            ours: true,
            packages,
            ..Wanted::default()
        };
        prepare_within(&self.host, &wanted, &self.limits).await
    }

    async fn fetched(&self, url: String, sha256: &str) -> Offered {
        self.offered(by_url(url, sha256)).await
    }

    fn cached(&self) -> Vec<String> {
        self.host.list(cache::FOLDER).unwrap_or_default()
    }
}

fn by_url(url: String, sha256: &str) -> PackagesSpec {
    let urls = vec![PackageUrl {
        url,
        sha256: sha256.to_owned(),
    }];
    from(PackageSource {
        urls: Some(urls),
        ..PackageSource::default()
    })
}

fn from(source: PackageSource) -> PackagesSpec {
    PackagesSpec {
        source: Some(source),
        ..PackagesSpec::default()
    }
}

fn sha256(bytes: &[u8]) -> String {
    cache::hex(Sha256::digest(bytes))
}

/// A package of some size, and its SHA-256.
fn package(folder: &Path) -> (Vec<u8>, String) {
    let mut package = Package::new("kernel-rt-core", "5.14.0", EL9);
    package.filler = 300_000;
    let bytes = fs::read(package.build(folder)).unwrap();
    let sum = sha256(&bytes);
    (bytes, sum)
}

/// Reason, words and whether it is transient, of a failure.
fn failed(offered: Offered) -> (&'static str, String, bool) {
    match offered {
        Offered::Failed {
            reason,
            message,
            transient,
        } => (reason, message, transient),
        other => panic!("{other:?}"),
    }
}

fn files(offered: Offered) -> Vec<(String, String)> {
    match offered {
        Offered::Files(files) => files
            .into_iter()
            .map(|(nevra, path)| (nevra.to_string(), path))
            .collect(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_address_is_downloaded_verified_and_not_asked_again() {
    if !rpms::rpm_is_there() {
        return;
    }
    let node = Node::new();
    let (bytes, sum) = package(node.folder.path());
    let server = Server::start(bytes);
    let path = cache::file(&sum);
    let wanted = vec![(format!("kernel-rt-core-5.14.0-{EL9}.x86_64"), path.clone())];
    assert_eq!(
        files(node.fetched(server.url("/plain/k.rpm"), &sum).await),
        wanted
    );
    assert_eq!(node.cached(), [format!("{sum}.rpm")]);
    assert_eq!(server.requests(), 1);
    assert_eq!(
        files(node.fetched(server.url("/plain/k.rpm"), &sum).await),
        wanted
    );
    assert_eq!(server.requests(), 1);
    // Changed on the disk: found out before it is used, and taken again.
    fs::write(node.host.path(&path), "something else").unwrap();
    assert_eq!(
        files(node.fetched(server.url("/plain/k.rpm"), &sum).await),
        wanted
    );
    assert_eq!(server.requests(), 2);
    // The way back needs no source.
    let wanted = Wanted {
        packages: by_url(server.url("/404/k.rpm"), &sum),
        ..Wanted::default()
    };
    assert_eq!(
        prepare_within(&node.host, &wanted, &node.limits).await,
        Offered::Repositories
    );
}

#[tokio::test]
async fn a_download_that_breaks_off_goes_on_where_it_was() {
    if !rpms::rpm_is_there() {
        return;
    }
    let mut node = Node::new();
    let (bytes, sum) = package(node.folder.path());
    let len = bytes.len() as u64;
    let server = Server::start(bytes);
    // At once, several times: each answer ends after 100,000 bytes.
    files(node.fetched(server.url("/drop/k.rpm"), &sum).await);
    assert!(server.requests() >= 4, "{}", server.requests());
    assert_eq!(server.sent(), len, "no byte came twice");
    // Later: what came is kept as .part, and only that.
    node.limits.resumes = 0;
    node.host.remove(&cache::file(&sum)).unwrap();
    let (reason, words, transient) = failed(node.fetched(server.url("/drop/k.rpm"), &sum).await);
    assert!(transient && reason == reason::SOURCE_UNUSABLE, "{words}");
    assert!(words.contains("broke off after 100000 bytes"), "{words}");
    assert_eq!(node.cached(), [format!("{sum}.part")]);
    files(node.fetched(server.url("/plain/k.rpm"), &sum).await);
    assert_eq!(node.cached(), [format!("{sum}.rpm")]);
    assert_eq!(server.sent(), 2 * len);
}

#[tokio::test]
async fn a_server_that_can_not_resume_or_resumes_wrongly_begins_anew() {
    if !rpms::rpm_is_there() {
        return;
    }
    for way in ["noranges", "shifted", "416"] {
        let node = Node::new();
        let (bytes, sum) = package(node.folder.path());
        node.host.make_folder(cache::FOLDER).unwrap();
        fs::write(node.host.path(&cache::part(&sum)), &bytes[..5000]).unwrap();
        let server = Server::start(bytes);
        match node
            .fetched(server.url(&format!("/{way}/k.rpm")), &sum)
            .await
        {
            Offered::Files(_) => assert_ne!(way, "shifted"),
            // Bytes of another place can't be used, nor is the server asked for ever.
            other => {
                assert_eq!(way, "shifted", "{other:?}");
                assert!(failed(other).1.contains("answered 206"));
            }
        }
    }
    // What an earlier try left is of another file: found out at the end, and all of it comes anew.
    let node = Node::new();
    let (bytes, sum) = package(node.folder.path());
    node.host.make_folder(cache::FOLDER).unwrap();
    fs::write(node.host.path(&cache::part(&sum)), rpms::noise(5000)).unwrap();
    let server = Server::start(bytes);
    files(node.fetched(server.url("/plain/k.rpm"), &sum).await);
    assert_eq!(server.requests(), 2);
}

#[tokio::test]
async fn another_file_than_the_one_meant_is_never_kept() {
    let node = Node::new();
    let server = Server::start(b"something else".to_vec());
    let wanted = sha256(b"the right file");
    let (reason, words, transient) =
        failed(node.fetched(server.url("/plain/k.rpm"), &wanted).await);
    assert_eq!((reason, transient), (reason::CHECKSUM_WRONG, false));
    assert!(
        words.contains(&wanted) && words.contains(&sha256(b"something else")),
        "{words}"
    );
    assert!(node.cached().is_empty(), "{:?}", node.cached());
    assert_eq!(server.requests(), 1);
    // The right checksum of what is no package.
    if rpms::rpm_is_there() {
        let garbage = sha256(b"something else");
        let (reason, words, _) = failed(node.fetched(server.url("/plain/k.rpm"), &garbage).await);
        assert_eq!(reason, reason::PACKAGE_DAMAGED);
        assert!(words.contains("/plain/k.rpm"), "{words}");
    }
}

#[tokio::test]
async fn what_a_server_may_answer() {
    let mut node = Node::new();
    node.limits.stall = Duration::from_millis(200);
    let server = Server::start(rpms::noise(300_000));
    let sum = sha256(b"");
    for (path, transient, part) in [
        ("/404/k.rpm", false, "404"),
        ("/503/k.rpm", true, "503"),
        ("/loop/k.rpm", false, "leads on more than 5 times"),
        ("/ftp/k.rpm", false, "neither http nor https"),
        ("/huge/k.rpm", false, "1024 MiB"),
        ("/garbage/k.rpm", true, "can't be reached"),
        ("/close/k.rpm", true, "can't be reached"),
        ("/stall/k.rpm", true, "sent nothing"),
    ] {
        let (reason, words, is_transient) = failed(node.fetched(server.url(path), &sum).await);
        assert_eq!(
            (reason, is_transient),
            (reason::SOURCE_UNUSABLE, transient),
            "{path}: {words}"
        );
        assert!(
            words.contains(part) && words.contains(path),
            "{path}: {words}"
        );
    }
    // Only what can be resumed is left.
    assert_eq!(node.cached(), [format!("{sum}.part")], "of /stall");
    // A file without an end, and of a length that nobody told.
    node.limits.file = 1_000_000;
    let (_, words, transient) = failed(node.fetched(server.url("/endless/k.rpm"), &sum).await);
    assert!(!transient && words.contains("more than 0 MiB"), "{words}");
    assert!(node.cached().is_empty());
    // Nobody listens.
    let gone = { Server::start(Vec::new()).url("/plain/k.rpm") };
    let (_, words, transient) = failed(
        node.fetched(gone.replace("127.0.0.1", "127.0.0.2"), &sum)
            .await,
    );
    assert!(transient && words.contains("can't be reached"), "{words}");
}

#[tokio::test]
async fn redirects_are_followed() {
    if !rpms::rpm_is_there() {
        return;
    }
    let node = Node::new();
    let (bytes, sum) = package(node.folder.path());
    let server = Server::start(bytes);
    files(node.fetched(server.url("/redirect/k.rpm"), &sum).await);
    assert_eq!(server.requests(), 3);
}

#[tokio::test]
async fn https_trusts_what_the_host_trusts() {
    if !rpms::rpm_is_there() {
        return;
    }
    let node = Node::new();
    let (bytes, sum) = package(node.folder.path());
    let (server, certificate) = Server::start_tls(bytes);
    let url = server.url("/plain/k.rpm");
    let (_, words, transient) = failed(node.fetched(url.clone(), &sum).await);
    assert!(
        transient && words.contains("certificate is not trusted"),
        "{words}"
    );
    let bundle = "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem";
    node.host.write_atomically(bundle, &certificate).unwrap();
    files(node.fetched(url.clone(), &sum).await);
    // The name in the certificate counts.
    node.host.remove(&cache::file(&sum)).unwrap();
    let (_, words, _) = failed(
        node.fetched(url.replace("127.0.0.1", "localhost"), &sum)
            .await,
    );
    assert!(
        words.contains("not trusted") && words.contains("not for this server's name"),
        "{words}"
    );
}

/// `openssl req -x509` makes such certificates: what is wrong with it is told, since other programs take it.
#[tokio::test]
async fn a_servers_certificate_that_is_an_authoritys_is_told() {
    let node = Node::new();
    let bytes = rpms::noise(1_000);
    let (server, certificate) = Server::start_tls_of_authority(bytes.clone());
    let bundle = "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem";
    node.host.write_atomically(bundle, &certificate).unwrap();
    let (_, words, transient) = failed(
        node.fetched(server.url("/plain/k.rpm"), &sha256(&bytes))
            .await,
    );
    assert!(transient && words.contains("an authority's own"), "{words}");
}

#[tokio::test]
async fn a_proxy_is_used_as_curl_uses_it() {
    use hyper_util::client::proxy::matcher::Matcher;
    let node = Node::new();
    let bytes = rpms::noise(10_000);
    let (server, certificate) = Server::start_tls(bytes.clone());
    let bundle = "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem";
    node.host.write_atomically(bundle, &certificate).unwrap();
    let plain = Server::start(bytes.clone());
    let proxy = server::Proxy::start();
    let matcher = || Matcher::builder().all(proxy.url()).no("127.0.0.9").build();
    let client = download::Client::with_proxies(&node.host, &node.limits, matcher());
    let sha256 = sha256(&bytes);
    // https: through a tunnel.
    let url = server.url("/plain/k.rpm");
    client
        .fetch(
            &PackageUrl {
                url,
                sha256: sha256.clone(),
            },
            &[],
        )
        .await
        .unwrap();
    assert!(
        proxy
            .lines()
            .iter()
            .any(|line| line.starts_with("CONNECT 127.0.0.1:")),
        "{:?}",
        proxy.lines()
    );
    // http: the whole address is asked for.
    node.host.remove(&cache::file(&sha256)).unwrap();
    let url = plain.url("/plain/k.rpm");
    client
        .fetch(
            &PackageUrl {
                url: url.clone(),
                sha256,
            },
            &[],
        )
        .await
        .unwrap();
    assert!(
        proxy.lines().contains(&format!("GET {url} HTTP/1.1")),
        "{:?}",
        proxy.lines()
    );
}

#[tokio::test]
async fn the_cache_is_bounded() {
    if !rpms::rpm_is_there() {
        return;
    }
    let mut node = Node::new();
    let (bytes, sum) = package(node.folder.path());
    let len = bytes.len() as u64;
    let server = Server::start(bytes);
    node.limits.cache = len + 1000;
    node.host.make_folder(cache::FOLDER).unwrap();
    for (name, bytes) in [("aa.rpm", 900), ("bb.rpm", 900), ("cc.part", 10)] {
        fs::write(
            node.host.path(&format!("{}/{name}", cache::FOLDER)),
            rpms::noise(bytes),
        )
        .unwrap();
    }
    // Of what nobody wants the oldest goes, and as much as has to; a half download always.
    files(node.fetched(server.url("/plain/k.rpm"), &sum).await);
    let left = node.cached();
    assert!(
        left.contains(&format!("{sum}.rpm")) && left.len() == 2,
        "{left:?}"
    );
    // More than the whole cache.
    node.limits.cache = len - 1;
    node.host.remove(&cache::file(&sum)).unwrap();
    let (_, words, transient) = failed(node.fetched(server.url("/plain/k.rpm"), &sum).await);
    assert!(!transient && words.contains("Name fewer"), "{words}");
    assert!(node.cached().is_empty());
}

#[tokio::test]
async fn a_full_disk_is_seen_before_and_while_it_fills() {
    let mut node = Node::new();
    let bytes = rpms::noise(3 << 20);
    let sum = sha256(&bytes);
    let server = Server::start(bytes);
    // By the free space that must stay.
    node.limits.reserve = u64::MAX / 2;
    let (reason, words, transient) = failed(node.fetched(server.url("/plain/k.rpm"), &sum).await);
    assert!(
        transient && reason == reason::NO_SPACE_IN_SYSROOT,
        "{words}"
    );
    assert!(words.contains("Make room"), "{words}");
    assert!(node.cached().is_empty(), "{:?}", node.cached());
    // By the kernel's word, in the middle.
    node.limits.reserve = 0;
    node.host.make_folder(cache::FOLDER).unwrap();
    let Some(_small) = SmallDisk::mount(&node.host.path(cache::FOLDER)) else {
        return;
    };
    for path in ["/plain/k.rpm", "/chunked/k.rpm"] {
        let (reason, words, transient) = failed(node.fetched(server.url(path), &sum).await);
        assert!(
            transient && reason == reason::NO_SPACE_IN_SYSROOT,
            "{path}: {words}"
        );
        assert!(node.cached().is_empty(), "{path}: {:?}", node.cached());
    }
}

/// A file system of 1 MiB.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(folder: &Path) -> Option<Self> {
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
            .arg(folder)
            .output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self(folder.to_owned())),
            other => {
                skip(&format!("a small file system can't be mounted: {other:?}"));
                None
            }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg(&self.0).status();
    }
}

#[tokio::test]
async fn a_directory_is_looked_at_where_it_is() {
    if !rpms::rpm_is_there() {
        return;
    }
    let node = Node::new();
    let directory = "/var/mnt/rpms";
    let ask = || {
        node.offered(from(PackageSource {
            directory: Some(directory.into()),
            ..PackageSource::default()
        }))
    };
    let (reason, words, transient) = failed(ask().await);
    assert!(
        transient && reason == reason::SOURCE_UNUSABLE && words.contains("it is not there"),
        "{words}"
    );
    node.host.make_folder(directory).unwrap();
    assert!(failed(ask().await).1.contains("no RPM file"));
    let folder = node.host.path(directory);
    let core = Package::new("kernel-rt-core", "5.14.0", EL9);
    let modules = Package::new("kernel-rt-modules", "5.14.0", EL9);
    core.build(&folder);
    // Taken wherever it leads below the root; what isn't a package, or none of this kernel, is passed over.
    modules.build(&node.host.path("/var/elsewhere"));
    std::os::unix::fs::symlink(
        format!("../../elsewhere/{}", modules.file_name()),
        folder.join(modules.file_name()),
    )
    .unwrap();
    Package::new("kernel-core", "5.14.0", EL9).build(&folder);
    fs::write(folder.join("README"), "not a package").unwrap();
    fs::create_dir(folder.join("kernel-rt-folder.rpm")).unwrap();
    std::os::unix::fs::symlink("nowhere", folder.join("kernel-rt-gone.rpm")).unwrap();
    assert_eq!(
        files(ask().await),
        [&core, &modules].map(|package| {
            (
                format!("{}-5.14.0-{EL9}.x86_64", package.name),
                format!("{directory}/{}", package.file_name()),
            )
        })
    );
    // Named packages only.
    let named = PackagesSpec {
        install: vec!["kernel-rt-core".into()],
        ..from(PackageSource {
            directory: Some(directory.into()),
            ..PackageSource::default()
        })
    };
    assert_eq!(files(node.offered(named).await).len(), 1);
    // Cut: the header is whole, the rest isn't.
    let whole = fs::read(folder.join(core.file_name())).unwrap();
    fs::write(folder.join(core.file_name()), &whole[..whole.len() - 20]).unwrap();
    let (reason, words, transient) = failed(ask().await);
    assert_eq!((reason, transient), (reason::PACKAGE_DAMAGED, false));
    assert!(words.contains(&core.file_name()), "{words}");
    // A text that names a good package is none itself.
    fs::write(
        folder.join(core.file_name()),
        node.host
            .path("/var/elsewhere")
            .join(modules.file_name())
            .to_str()
            .unwrap(),
    )
    .unwrap();
    assert_eq!(failed(ask().await).0, reason::PACKAGE_DAMAGED);
}

#[tokio::test]
async fn repositories_must_be_enabled_on_the_host() {
    let node = Node::new();
    let ask = |ids: &[&str]| {
        let ids = ids.iter().map(|id| (*id).to_owned()).collect();
        node.offered(from(PackageSource {
            repositories: Some(ids),
            ..PackageSource::default()
        }))
    };
    assert!(failed(ask(&["rt"]).await).1.contains("none enabled"));
    node.host
        .write_atomically(
            "/etc/yum.repos.d/a.repo",
            b"[baseos]\nenabled=1\n[nfv]\nenabled=0\n",
        )
        .unwrap();
    node.host
        .write_atomically("/etc/yum.repos.d/b.repo", b"[rt]\n")
        .unwrap();
    node.host
        .write_atomically("/etc/yum.repos.d/c.disabled", b"[other]\n")
        .unwrap();
    assert_eq!(ask(&["rt", "baseos"]).await, Offered::Repositories);
    let (reason, words, transient) = failed(ask(&["nfv", "rt", "other"]).await);
    assert!(transient && reason == reason::SOURCE_UNUSABLE, "{words}");
    assert!(
        words.contains("not enabled on the host: nfv, other. Enabled there: baseos, rt."),
        "{words}"
    );
    // None named: whatever is enabled.
    assert_eq!(
        node.offered(PackagesSpec::default()).await,
        Offered::Repositories
    );
}

#[tokio::test]
async fn what_replaces_base_packages_comes_along() {
    if !rpms::rpm_is_there() {
        return;
    }
    let node = Node::new();
    let mut microcode = Package::new("microcode_ctl", "20190918", "3.rhcos.1.el8");
    microcode.tags = &["Epoch: 4"];
    let bytes = fs::read(microcode.build(node.folder.path())).unwrap();
    let sum = sha256(&bytes);
    let server = Server::start(bytes);
    let packages = PackagesSpec {
        replace: vec![PackageUrl {
            url: server.url("/plain/m.rpm"),
            sha256: sum.clone(),
        }],
        ..PackagesSpec::default()
    };
    let offered = files(node.offered(packages.clone()).await);
    assert_eq!(
        offered,
        [(
            "microcode_ctl-4:20190918-3.rhcos.1.el8.x86_64".to_owned(),
            cache::file(&sum)
        )]
    );
    assert!(Offered::replaces(&packages, &offered[0].1));
}

/// The real podman over a store below the root.
const PODMAN_SCRIPT: &str = r#"
echo "$*" >> "$REALTIME_HOST_ROOT/podman.log"
store=$REALTIME_HOST_ROOT/var/lib/containers
out=$(/usr/bin/podman --root "$store/storage" --runroot "$store/run" --storage-driver vfs "$@") || exit $?
printf '%s\n' "$out" | sed "s|^$REALTIME_HOST_ROOT||""#;

/// The real podman: an image made here, mounted, read, and left as it was.
#[tokio::test]
async fn an_image_is_read_with_the_hosts_podman() {
    if !rpms::rpm_is_there() {
        return;
    }
    let node = Node::new();
    let reference = |digest: &str| format!("localhost/rt@sha256:{digest}");
    let ask = |reference: &str, path: &str| {
        let image = PackageImage {
            reference: reference.to_owned(),
            path: Some(path.to_owned()),
        };
        node.offered(from(PackageSource {
            image: Some(image),
            ..PackageSource::default()
        }))
    };
    let (reason, words, transient) = failed(ask(&reference(&"0".repeat(64)), "/").await);
    assert!(
        !transient && reason == reason::SOURCE_UNUSABLE && words.contains("no podman"),
        "{words}"
    );
    if !rpms::programs_are_there(&["/usr/bin/podman"]) {
        return;
    }
    rpms::script(&node.commands(), "podman", PODMAN_SCRIPT);
    let root = node.host.root().to_owned();
    let podman = |arguments: &[&str]| {
        std::process::Command::new(node.commands().join("podman"))
            .env("REALTIME_HOST_ROOT", &root)
            .args(arguments)
            .output()
            .unwrap()
    };
    // As the extensions image of OpenShift: folders, other packages, links.
    let content = node.folder.path().join("content");
    let extensions = content.join("usr/share/rpm-ostree/extensions");
    let core = Package::new("kernel-rt-core", "5.14.0", EL9);
    let modules = Package::new("kernel-rt-modules", "5.14.0", EL9);
    core.build(&extensions);
    modules.build(&extensions.join("more"));
    Package::new("usbguard", "1", "1").build(&extensions);
    std::os::unix::fs::symlink("/etc/shadow", extensions.join("kernel-rt-out.rpm")).unwrap();
    std::os::unix::fs::symlink("/usr/share/rpm-ostree", content.join("link")).unwrap();
    let archive = node.folder.path().join("content.tar");
    let tar = std::process::Command::new("tar")
        .arg("-C")
        .arg(&content)
        .arg("-cf")
        .arg(&archive)
        .arg(".")
        .status();
    assert!(tar.unwrap().success());
    let imported = podman(&[
        "import",
        "--quiet",
        archive.to_str().unwrap(),
        "localhost/rt:1",
    ]);
    if !imported.status.success() {
        return skip(&format!(
            "podman does not run here: {}",
            String::from_utf8_lossy(&imported.stderr)
        ));
    }
    let inspected = podman(&[
        "image",
        "inspect",
        "--format",
        "{{.Digest}}",
        "localhost/rt:1",
    ]);
    let digest = String::from_utf8(inspected.stdout).unwrap();
    let image = reference(digest.trim().strip_prefix("sha256:").unwrap());

    // Its path leads over a link of the image, which must not lead into the host.
    let offered = files(ask(&image, "/link/extensions").await);
    let names: Vec<&str> = offered.iter().map(|(nevra, _)| nevra.as_str()).collect();
    assert_eq!(
        names,
        [
            format!("kernel-rt-core-5.14.0-{EL9}.x86_64"),
            format!("kernel-rt-modules-5.14.0-{EL9}.x86_64")
        ]
    );
    for (_, path) in &offered {
        let sum = sha256(&fs::read(node.host.path(path)).unwrap());
        assert_eq!(*path, cache::file(&sum));
    }
    // The image was there before: it stays. It is mounted no longer.
    assert!(podman(&["image", "exists", &image]).status.success());
    assert_eq!(
        String::from_utf8(podman(&["image", "mount"]).stdout)
            .unwrap()
            .trim(),
        ""
    );
    // Nothing but the packages and their list.
    let cached = node.cached();
    assert_eq!(cached.len(), 3, "{cached:?}");
    // The second time podman isn't needed.
    fs::remove_file(root.join("podman.log")).unwrap();
    assert_eq!(files(ask(&image, "/link/extensions").await), offered);
    assert!(!root.join("podman.log").exists());
    // Changed in the cache: read again.
    fs::write(node.host.path(&offered[0].1), "changed").unwrap();
    assert_eq!(files(ask(&image, "/link/extensions").await), offered);

    // Nothing of a kernel there.
    let (reason, words, transient) = failed(ask(&image, "/etc").await);
    assert!(
        !transient && reason == reason::PACKAGES_NOT_FOUND && words.contains("/etc"),
        "{words}"
    );
    // An image that is nowhere: podman's words. It may be there later, for all that one knows.
    let (reason, words, _) =
        failed(ask(&format!("127.0.0.1:1/rt@sha256:{}", "0".repeat(64)), "/").await);
    assert!(
        reason == reason::SOURCE_UNUSABLE && words.contains("127.0.0.1:1"),
        "{words}"
    );

    // Pulled by us, by the mark of a daemon that died in the middle: away with it at the end.
    for name in node.cached() {
        node.host
            .remove(&format!("{}/{name}", cache::FOLDER))
            .unwrap();
    }
    podman(&["image", "mount", &image]);
    let list = cached
        .iter()
        .find(|name| name.starts_with("image-"))
        .unwrap();
    let mark = list.replace(".json", ".pulled");
    fs::write(node.host.path(&format!("{}/{mark}", cache::FOLDER)), "").unwrap();
    assert_eq!(files(ask(&image, "/link/extensions").await), offered);
    assert!(
        !podman(&["image", "exists", &image]).status.success(),
        "the image is left"
    );
    assert!(!node.cached().contains(&mark));
}
