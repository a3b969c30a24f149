import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.Provider;
import java.security.Security;
import java.security.cert.CertPath;
import java.security.cert.CertPathValidator;
import java.security.cert.CertPathValidatorException;
import java.security.cert.CertStore;
import java.security.cert.CertificateFactory;
import java.security.cert.CollectionCertStoreParameters;
import java.security.cert.CRL;
import java.security.cert.PKIXParameters;
import java.security.cert.PKIXRevocationChecker;
import java.security.cert.TrustAnchor;
import java.security.cert.X509Certificate;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;

/** The questions of benchmarks/interoperability/conversation.py, answered by the PKIX validator of a provider. */
public class Judge {
    private static CertificateFactory factory;
    private static String provider;

    public static void main(String[] arguments) throws Exception {
        factory = CertificateFactory.getInstance("X.509");
        provider = arguments[0];
        if (provider.equals("BC")) {
            Class<?> theirs = Class.forName("org.bouncycastle.jce.provider.BouncyCastleProvider");
            Security.addProvider((Provider) theirs.getDeclaredConstructor().newInstance());
        }
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            String answer;
            try {
                answer = answered(line.split("\t", -1));
            } catch (Exception error) {
                answer = "error: " + error;
            }
            System.out.println(answer.replace('\n', ' '));
        }
    }

    private static String answered(String[] words) throws Exception {
        if (words[0].equals("version")) {
            return provider.equals("BC")
                    ? Security.getProvider("BC").getInfo().replaceAll(".* v", "")
                    : System.getProperty("java.version");
        }
        X509Certificate certificate = read(words[1]);
        if (words[0].equals("serial")) {
            return certificate.getSerialNumber().toString(16);
        }
        if (words[0].equals("shown")) {
            return certificate.getSerialNumber().toString();
        }
        if (words[0].equals("text")) {
            return certificate.toString().lines().filter(line -> line.contains("SerialNumber:")).findFirst().orElse("");
        }
        PKIXParameters parameters = new PKIXParameters(Set.of(new TrustAnchor(read(words[2]), null)));
        parameters.setRevocationEnabled(!words[4].isEmpty());
        if (words[3].contains("policies")) {
            parameters.setPolicyQualifiersRejected(false);
        }
        if (!words[4].isEmpty()) {
            List<CRL> lists = new ArrayList<>();
            for (String file : words[4].split(",")) {
                try (InputStream input = Files.newInputStream(Path.of(file))) {
                    lists.add(factory.generateCRL(input));
                }
            }
            parameters.addCertStore(CertStore.getInstance("Collection", new CollectionCertStoreParameters(lists)));
        }
        CertPathValidator validator = CertPathValidator.getInstance("PKIX", provider);
        if (!words[5].isEmpty()) {
            PKIXRevocationChecker checker = (PKIXRevocationChecker) validator.getRevocationChecker();
            checker.setOcspResponder(URI.create(words[5]));
            checker.setOptions(EnumSet.of(PKIXRevocationChecker.Option.NO_FALLBACK));
            parameters.addCertPathChecker(checker);
        }
        CertPath path = factory.generateCertPath(List.of(certificate));
        try {
            validator.validate(path, parameters);
            return "good";
        } catch (CertPathValidatorException refused) {
            boolean revoked = refused.getReason() == CertPathValidatorException.BasicReason.REVOKED
                    || String.valueOf(refused.getMessage()).toLowerCase().contains("certificate revo");
            return revoked ? "revoked" : "refused: " + refused.getReason() + ": " + refused.getMessage();
        }
    }

    private static X509Certificate read(String path) throws Exception {
        try (InputStream input = Files.newInputStream(Path.of(path))) {
            return (X509Certificate) factory.generateCertificate(input);
        } catch (IOException error) {
            throw new IOException(path, error);
        }
    }
}
