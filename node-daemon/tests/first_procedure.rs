//! What the first real-time procedure of OpenShift 4.3 did by hand on each node, from one profile: a web server with a
//! base package to replace (microcode_ctl), kernel-rt out of files, one transaction, one reboot; and all of it back.

mod support;

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use realtime_testing::rpm_ostree_standin::{OriginKind, Package, Profile, Version};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use support::standalone::{Standalone, package_file};

const PACKAGES: &str = "/var/lib/realtime/rpms";
const RELEASE: &str = "5.14.0-284.11.1.rt14.296.el9_2";
const MICROCODE: &str = "microcode_ctl-4:20230808-2.20231009.1.el9_2.noarch";

/// Serves one file to whoever asks, on loopback, until the test ends.
fn serve(content: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let mut asked = [0; 4096];
            if stream.read(&mut asked).is_err() {
                continue;
            }
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                content.len()
            );
            let _ = stream.write_all(head.as_bytes());
            let _ = stream.write_all(&content);
        }
    });
    format!("http://{address}/microcode_ctl.rpm")
}

#[test]
fn a_base_package_is_replaced_together_with_the_kernel_and_comes_back_with_it() {
    for version in [Version::V2023_2, Version::V2024_7] {
        let host = Standalone::new(&Profile::measured(version, OriginKind::Ostree));
        let nevras = ["core", "modules", "modules-core", "modules-extra"]
            .map(|part| format!("kernel-rt-{part}-{RELEASE}.x86_64"));
        host.put_packages(PACKAGES, &nevras.each_ref().map(String::as_str));
        let file = package_file(&Package::from_nevra(MICROCODE).expect("a package"));
        let sum = Sha256::digest(&file)
            .iter()
            .fold(String::new(), |sum, byte| sum + &format!("{byte:02x}"));
        let url = serve(file);

        host.want(json!({
            "realtime": true,
            "packages": {
                "source": {"directory": PACKAGES},
                "replace": [{"url": url, "sha256": sum}],
            },
        }));
        let end = host.settle();
        assert_eq!(end.phase, "Ready", "{}", host.log());
        assert!(host.host.kernel().is_realtime(), "{}", host.log());
        assert_eq!(host.host.counts().reboots, 1, "{}", host.log());
        assert_eq!(host.record().replaced, ["microcode_ctl"]);
        let transactions = |text: &str| {
            let log = host.log();
            let begun = |line: &&str| line.contains("begin") && line.contains(text);
            log.lines().filter(begun).count()
        };
        assert_eq!(transactions("override remove"), 1, "{}", host.log());
        assert_eq!(transactions("override replace"), 0, "{}", host.log());

        host.want(json!({"realtime": false}));
        let end = host.settle();
        assert_eq!(end.phase, "Ready", "{}", host.log());
        assert!(!host.host.kernel().is_realtime(), "{}", host.log());
        assert_eq!(host.host.counts().reboots, 2, "{}", host.log());
        assert!(host.record().replaced.is_empty(), "{}", host.log());
    }
}
