//! The keys and certificates of one control plane, valid for it alone.
//! Must not touch a file: the launcher writes them.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};

/// All that an API server and its administrator need, as PEM.
#[derive(Debug)]
pub struct Certificates {
    /// Signed the two certificates below.
    pub authority: String,
    /// The API server's.
    pub server: Pair,
    /// Of a user in the group `system:masters`.
    pub admin: Pair,
    /// Signs the tokens of `ServiceAccounts`.
    pub service_account_key: String,
    /// Its other half; the API server doesn't take it out of the private key.
    pub service_account_public_key: String,
}

/// A certificate and its key, as PEM.
#[derive(Debug)]
pub struct Pair {
    /// The certificate.
    pub certificate: String,
    /// The private key, PKCS #8.
    pub key: String,
}

impl Certificates {
    /// Makes new ones: elliptic curves, since RSA keys take seconds.
    pub fn generate() -> Result<Self, rcgen::Error> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        params
            .distinguished_name
            .push(DnType::CommonName, "realtime-testing");
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;

        let mut server = CertificateParams::new(
            ["127.0.0.1", "localhost", "kubernetes.default.svc"].map(str::to_owned),
        )?;
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        server
            .distinguished_name
            .push(DnType::CommonName, "kube-apiserver");

        let mut admin = CertificateParams::default();
        admin.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        // The API server reads the user from the one and the group from the other.
        admin.distinguished_name.push(DnType::CommonName, "admin");
        admin
            .distinguished_name
            .push(DnType::OrganizationName, "system:masters");

        let pair = |params: CertificateParams| -> Result<Pair, rcgen::Error> {
            let key = KeyPair::generate()?;
            let certificate = params.signed_by(&key, &authority)?;
            Ok(Pair {
                certificate: certificate.pem(),
                key: key.serialize_pem(),
            })
        };
        let tokens = KeyPair::generate()?;
        Ok(Self {
            authority: authority.pem(),
            server: pair(server)?,
            admin: pair(admin)?,
            service_account_key: tokens.serialize_pem(),
            service_account_public_key: tokens.public_key_pem(),
        })
    }
}
