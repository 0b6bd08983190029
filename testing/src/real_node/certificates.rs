//! The keys and certificates of one real node's cluster, valid for it alone: one for each part, with
//! the user and group that RBAC's own roles are bound to. Must not touch a file.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};

use super::network;
use crate::control_plane::certificates::Pair;

/// All that the parts need, as PEM.
#[derive(Debug)]
pub struct Certificates {
    /// Signed all certificates below.
    pub authority: String,
    /// The API server's.
    pub server: Pair,
    /// The API server's as a client of the kubelet: logs, exec.
    pub kubelet_client: Pair,
    /// A person in the group `system:masters`.
    pub admin: Pair,
    /// The kubelet's.
    pub kubelet: Pair,
    /// kube-controller-manager's.
    pub controller_manager: Pair,
    /// kube-scheduler's.
    pub scheduler: Pair,
    /// kube-proxy's.
    pub proxy: Pair,
    /// Signs the tokens of `ServiceAccount`s.
    pub service_account_key: String,
    /// Its other half.
    pub service_account_public_key: String,
}

impl Certificates {
    /// Makes new ones: elliptic curves, since RSA keys take seconds.
    pub fn generate(node: &str) -> Result<Self, rcgen::Error> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        params
            .distinguished_name
            .push(DnType::CommonName, "realtime-testing-node");
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let sign = |params: CertificateParams| -> Result<Pair, rcgen::Error> {
            let key = KeyPair::generate()?;
            let certificate = params.signed_by(&key, &authority)?;
            Ok(Pair {
                certificate: certificate.pem(),
                key: key.serialize_pem(),
            })
        };
        // The API server reads the user from the one name and the group from the other.
        let client = |user: &str, group: Option<&str>| {
            let mut params = CertificateParams::default();
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            params.distinguished_name.push(DnType::CommonName, user);
            if let Some(group) = group {
                params
                    .distinguished_name
                    .push(DnType::OrganizationName, group);
            }
            sign(params)
        };

        let mut server = CertificateParams::new(
            [
                "127.0.0.1",
                network::NODE_ADDRESS,
                network::API_SERVICE_ADDRESS,
                "localhost",
                "kubernetes",
                "kubernetes.default",
                "kubernetes.default.svc",
                "kubernetes.default.svc.cluster.local",
            ]
            .map(str::to_owned),
        )?;
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        server
            .distinguished_name
            .push(DnType::CommonName, "kube-apiserver");
        let tokens = KeyPair::generate()?;
        Ok(Self {
            authority: authority.pem(),
            server: sign(server)?,
            kubelet_client: client("kube-apiserver-kubelet-client", Some("system:masters"))?,
            admin: client("admin", Some("system:masters"))?,
            kubelet: client(&format!("system:node:{node}"), Some("system:nodes"))?,
            controller_manager: client("system:kube-controller-manager", None)?,
            scheduler: client("system:kube-scheduler", None)?,
            proxy: client("system:kube-proxy", None)?,
            service_account_key: tokens.serialize_pem(),
            service_account_public_key: tokens.public_key_pem(),
        })
    }
}
