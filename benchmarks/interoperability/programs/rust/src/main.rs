//! The questions of benchmarks/interoperability/conversation.py, answered by rustls-webpki or by x509-parser.
//! The first argument is the name of one of them.

use std::error::Error;
use std::fs::read;
use std::io::{self, BufRead};

use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::{anchor_from_trusted_cert, EndEntityCert, KeyUsage, RevocationOptionsBuilder, ALL_VERIFICATION_ALGS};
use x509_parser::prelude::*;

type Answer = Result<String, Box<dyn Error>>;

fn main() {
    let webpki = std::env::args().nth(1).as_deref() == Some("rustls-webpki");
    for line in io::stdin().lock().lines().map_while(Result::ok) {
        let words: Vec<&str> = line.split('\t').collect();
        let answer = match words[0] {
            "version" => Ok(version(if webpki { "rustls-webpki" } else { "x509-parser" })),
            _ if webpki => by_webpki(&words),
            _ => by_parser(&words),
        };
        println!("{}", answer.unwrap_or_else(|error| format!("error: {error}")).replace('\n', " "));
    }
}

/// The version that the lock file has.
fn version(name: &str) -> String {
    let lock = include_str!("../Cargo.lock");
    let block = lock.split("[[package]]").find(|block| block.contains(&format!("name = \"{name}\"\n")));
    block.and_then(|block| block.split("version = \"").nth(1)?.split('"').next()).unwrap_or("unknown").to_string()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn by_webpki(words: &[&str]) -> Answer {
    let der = CertificateDer::from(read(words[1])?);
    let certificate = EndEntityCert::try_from(&der)?;
    if words[0] == "serial" {
        return Ok(hex(certificate.serial()));
    }
    let root = CertificateDer::from(read(words[2])?);
    let anchors = [anchor_from_trusted_cert(&root)?];
    let mut lists = Vec::new();
    for file in words[4].split(',').filter(|name| !name.is_empty()) {
        lists.push(webpki::CertRevocationList::from(webpki::OwnedCertRevocationList::from_der(&read(file)?)?));
    }
    let borrowed: Vec<_> = lists.iter().collect();
    let revocation = RevocationOptionsBuilder::new(&borrowed).ok().map(|builder| builder.build());
    let judged = certificate.verify_for_usage(
        ALL_VERIFICATION_ALGS, &anchors, &[], UnixTime::now(), KeyUsage::client_auth(), revocation, None,
    );
    match judged {
        Ok(_) => Ok("good".into()),
        Err(webpki::Error::CertRevoked) => Ok("revoked".into()),
        Err(error) => Err(error.into()),
    }
}

fn by_parser(words: &[&str]) -> Answer {
    let der = read(words[1])?;
    let (_, certificate) = X509Certificate::from_der(&der)?;
    if words[0] == "serial" {
        return Ok(hex(certificate.raw_serial()));
    }
    if words[0] == "shown" {
        return Ok(certificate.raw_serial_as_string());
    }
    let root_der = read(words[2])?;
    let (_, root) = X509Certificate::from_der(&root_der)?;
    certificate.verify_signature(Some(root.public_key()))?;
    for file in words[4].split(',').filter(|name| !name.is_empty()) {
        let data = read(file)?;
        let (_, list) = CertificateRevocationList::from_der(&data)?;
        list.verify_signature(root.public_key())?;
        if list.iter_revoked_certificates().any(|entry| entry.raw_serial() == certificate.raw_serial()) {
            return Ok("revoked".into());
        }
    }
    Ok("good".into())
}
