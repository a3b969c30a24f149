import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.PrivateKey;
import java.security.Provider;
import java.security.Security;
import java.security.Signature;
import java.security.cert.X509Certificate;
import java.util.Collections;
import java.util.stream.Stream;

/** Signs with a token of OpenSC (by default the first) and verifies: java SignWithCard.java PIN [slot index]. */
public class SignWithCard {
    public static void main(String[] arguments) throws Exception {
        char[] pin = arguments[0].toCharArray();
        String slot = arguments.length > 1 ? arguments[1] : "0";
        Path configuration = Files.createTempFile("opensc", ".cfg");
        Files.writeString(configuration, "name=Card\nlibrary=" + module() + "\nslotListIndex=" + slot + "\n");
        Provider card = Security.getProvider("SunPKCS11").configure(configuration.toString());

        KeyStore store = KeyStore.getInstance("PKCS11", card);
        store.load(null, pin);
        for (String alias : Collections.list(store.aliases())) {
            if (!store.isKeyEntry(alias)) {
                continue;
            }
            X509Certificate certificate = (X509Certificate) store.getCertificate(alias);
            byte[] message = "signed in Java".getBytes(StandardCharsets.UTF_8);
            Signature signing = Signature.getInstance("SHA256withRSA", card);
            signing.initSign((PrivateKey) store.getKey(alias, pin));
            signing.update(message);
            byte[] signature = signing.sign();
            Signature verifying = Signature.getInstance("SHA256withRSA");
            verifying.initVerify(certificate.getPublicKey());
            verifying.update(message);
            System.out.println(certificate.getIssuerX500Principal() + ": " + verifying.verify(signature));
            return;
        }
        throw new IOException("the token has no private key");
    }

    private static Path module() throws IOException {
        try (Stream<Path> found = Files.find(Path.of("/usr/lib"), 3, (path, about) -> path.endsWith("opensc-pkcs11.so"))) {
            return found.findFirst().orElseThrow(() -> new IOException("install the package opensc-pkcs11"));
        }
    }
}
