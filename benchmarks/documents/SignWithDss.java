import eu.europa.esig.dss.alert.SilentOnStatusAlert;
import eu.europa.esig.dss.cades.CAdESSignatureParameters;
import eu.europa.esig.dss.cades.signature.CAdESService;
import eu.europa.esig.dss.enumerations.DigestAlgorithm;
import eu.europa.esig.dss.enumerations.SignatureAlgorithm;
import eu.europa.esig.dss.enumerations.SignatureLevel;
import eu.europa.esig.dss.enumerations.SignaturePackaging;
import eu.europa.esig.dss.model.DSSDocument;
import eu.europa.esig.dss.model.FileDocument;
import eu.europa.esig.dss.model.SerializableTimestampParameters;
import eu.europa.esig.dss.model.SignatureValue;
import eu.europa.esig.dss.model.x509.CertificateToken;
import eu.europa.esig.dss.pades.PAdESSignatureParameters;
import eu.europa.esig.dss.pades.signature.PAdESService;
import eu.europa.esig.dss.signature.AbstractSignatureParameters;
import eu.europa.esig.dss.signature.DocumentSignatureService;
import eu.europa.esig.dss.spi.DSSUtils;
import eu.europa.esig.dss.spi.validation.CommonCertificateVerifier;
import eu.europa.esig.dss.spi.x509.CommonTrustedCertificateSource;
import eu.europa.esig.dss.spi.x509.revocation.crl.ExternalResourcesCRLSource;
import eu.europa.esig.dss.spi.x509.tsp.KeyEntityTSPSource;
import eu.europa.esig.dss.token.DSSPrivateKeyEntry;
import eu.europa.esig.dss.token.Pkcs12SignatureToken;
import eu.europa.esig.dss.xades.XAdESSignatureParameters;
import eu.europa.esig.dss.xades.signature.XAdESService;
import java.io.File;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore.PasswordProtection;
import java.util.Arrays;
import java.util.List;

/** Signs with DSS, from B to LTA: java SignWithDss.java KEYS PASSWORD UNSIGNED.xml CONTENT UNSIGNED.pdf FOLDER LIST ... */
public class SignWithDss {
    private static final List<String> LEVELS = List.of("B", "T", "LT", "LTA");

    private static Pkcs12SignatureToken token;
    private static DSSPrivateKeyEntry key;
    private static KeyEntityTSPSource clock;
    private static CertificateToken root;
    private static CommonCertificateVerifier verifier;
    private static Path folder;

    public static void main(String[] arguments) throws Exception {
        File keys = new File(arguments[0]);
        char[] password = arguments[1].toCharArray();
        DSSDocument xml = new FileDocument(arguments[2]);
        DSSDocument content = new FileDocument(arguments[3]);
        DSSDocument pdf = new FileDocument(arguments[4]);
        folder = Path.of(arguments[5]);

        token = new Pkcs12SignatureToken(new File(keys, "hanako.p12"), new PasswordProtection(password));
        key = token.getKeys().get(0);
        clock = new KeyEntityTSPSource(new File(keys, "tsa.p12"), "PKCS12", password, "tsa", password);
        clock.setTsaPolicy("1.2.3.4");
        root = DSSUtils.loadCertificate(new File(keys, "root.der"));
        CertificateToken clockRoot = DSSUtils.loadCertificate(new File(keys, "tsa-root.der"));
        clock.setCertificateChain(List.of(
            DSSUtils.loadCertificate(new File(keys, "tsa.der")).getCertificate(), clockRoot.getCertificate()));
        CommonTrustedCertificateSource trusted = new CommonTrustedCertificateSource();
        trusted.addCertificate(root);
        trusted.addCertificate(clockRoot);
        verifier = new CommonCertificateVerifier();
        verifier.setTrustedCertSources(trusted);
        verifier.setCrlSource(new ExternalResourcesCRLSource(
            Arrays.stream(arguments).skip(6).map(FileDocument::new).toArray(DSSDocument[]::new)));
        verifier.setAlertOnMissingRevocationData(new SilentOnStatusAlert());
        verifier.setAlertOnNoRevocationAfterBestSignatureTime(new SilentOnStatusAlert());

        for (String level : LEVELS) {
            for (SignaturePackaging packaging : List.of(SignaturePackaging.ENVELOPED, SignaturePackaging.ENVELOPING)) {
                XAdESSignatureParameters parameters = new XAdESSignatureParameters();
                parameters.setSignatureLevel(SignatureLevel.valueOf("XAdES_BASELINE_" + level));
                parameters.setSignaturePackaging(packaging);
                sign(new XAdESService(verifier), parameters, xml, "xades-" + packaging.name().toLowerCase(), level, "xml");
            }
            for (SignaturePackaging packaging : List.of(SignaturePackaging.DETACHED, SignaturePackaging.ENVELOPING)) {
                CAdESSignatureParameters parameters = new CAdESSignatureParameters();
                parameters.setSignatureLevel(SignatureLevel.valueOf("CAdES_BASELINE_" + level));
                parameters.setSignaturePackaging(packaging);
                sign(new CAdESService(verifier), parameters, content, "cades-" + packaging.name().toLowerCase(), level, "p7m");
            }
            PAdESSignatureParameters parameters = new PAdESSignatureParameters();
            parameters.setSignatureLevel(SignatureLevel.valueOf("PAdES_BASELINE_" + level));
            sign(new PAdESService(verifier), parameters, pdf, "pades", level, "pdf");
        }
    }

    private static <P extends AbstractSignatureParameters<?>, T extends SerializableTimestampParameters> void sign(
            DocumentSignatureService<P, T> service, P parameters, DSSDocument document, String form, String level,
            String suffix) throws Exception {
        parameters.setSigningCertificate(key.getCertificate());
        parameters.setCertificateChain(key.getCertificate(), root);
        parameters.setDigestAlgorithm(DigestAlgorithm.SHA256);
        service.setTspSource(clock);
        byte[] value = token.sign(service.getDataToSign(document, parameters), DigestAlgorithm.SHA256, key).getValue();
        DSSDocument signed = service.signDocument(document, parameters,
            new SignatureValue(SignatureAlgorithm.RSA_SHA256, value));
        try (var out = Files.newOutputStream(folder.resolve(form + "-" + level + "." + suffix))) {
            signed.writeTo(out);
        }
    }
}
