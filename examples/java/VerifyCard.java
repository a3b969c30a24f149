import java.io.InputStream;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.cert.CRL;
import java.security.cert.CertPathValidator;
import java.security.cert.CertPathValidatorException;
import java.security.cert.CertStore;
import java.security.cert.CertificateFactory;
import java.security.cert.CertificateRevokedException;
import java.security.cert.CollectionCertStoreParameters;
import java.security.cert.PKIXParameters;
import java.security.cert.PKIXRevocationChecker;
import java.security.cert.TrustAnchor;
import java.security.cert.X509Certificate;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;

/**
 * Verifies a certificate of a card with Java's own path validator.
 *
 * <pre>java VerifyCard.java ROOT CERTIFICATE LIST...
 * java VerifyCard.java ROOT CERTIFICATE http://127.0.0.1:18601/ocsp/authentication/as/KEY</pre>
 *
 * The files are PEM or DER. The exit status is 0 if the certificate is good, and 1 if it is revoked or if nothing says so.
 */
public class VerifyCard {
    public static void main(String[] arguments) throws Exception {
        if (arguments.length < 3) {
            System.err.println("usage: java VerifyCard.java ROOT CERTIFICATE LIST... (or the address of a responder)");
            System.exit(2);
        }
        CertificateFactory factory = CertificateFactory.getInstance("X.509");
        X509Certificate root = certificate(factory, arguments[0]);
        X509Certificate certificate = certificate(factory, arguments[1]);
        List<String> sources = List.of(arguments).subList(2, arguments.length);

        PKIXParameters parameters = new PKIXParameters(Set.of(new TrustAnchor(root, null)));
        // Without this, every card is refused: its policies are critical and have the address of a statement.
        parameters.setPolicyQualifiersRejected(false);
        parameters.setRevocationEnabled(true);

        CertPathValidator validator = CertPathValidator.getInstance("PKIX");
        if (sources.get(0).startsWith("http")) {
            PKIXRevocationChecker checker = (PKIXRevocationChecker) validator.getRevocationChecker();
            checker.setOcspResponder(URI.create(sources.get(0)));
            checker.setOptions(EnumSet.of(PKIXRevocationChecker.Option.NO_FALLBACK));
            parameters.addCertPathChecker(checker);
        } else {
            List<CRL> lists = new ArrayList<>();
            for (String source : sources) {
                try (InputStream input = Files.newInputStream(Path.of(source))) {
                    lists.add(factory.generateCRL(input));
                }
            }
            parameters.addCertStore(CertStore.getInstance("Collection", new CollectionCertStoreParameters(lists)));
        }
        try {
            validator.validate(factory.generateCertPath(List.of(certificate)), parameters);
            System.out.println("good: " + certificate.getSubjectX500Principal());
        } catch (CertPathValidatorException refused) {
            if (refused.getCause() instanceof CertificateRevokedException revoked) {
                System.out.println("revoked: " + revoked.getRevocationReason() + " at " + revoked.getRevocationDate().toInstant());
            } else {
                System.out.println("not decided: " + refused.getReason() + ": " + refused.getMessage());
            }
            System.exit(1);
        }
    }

    private static X509Certificate certificate(CertificateFactory factory, String file) throws Exception {
        try (InputStream input = Files.newInputStream(Path.of(file))) {
            return (X509Certificate) factory.generateCertificate(input);
        }
    }
}
