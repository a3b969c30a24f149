import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collection;
import org.bouncycastle.cert.X509CertificateHolder;
import org.bouncycastle.cms.CMSProcessableByteArray;
import org.bouncycastle.cms.CMSSignedData;
import org.bouncycastle.cms.SignerInformation;
import org.bouncycastle.cms.jcajce.JcaSimpleSignerInfoVerifierBuilder;
import org.bouncycastle.jce.provider.BouncyCastleProvider;

/** Verifies CMS with BouncyCastle: java JudgeCms.java FILE CONTENT-OR-EMPTY ... prints a line for each pair. */
public class JudgeCms {
    public static void main(String[] arguments) throws Exception {
        for (int number = 0; number + 1 < arguments.length; number += 2) {
            System.out.println(arguments[number] + "\t" + verdict(arguments[number], arguments[number + 1]));
        }
    }

    private static String verdict(String file, String content) {
        CMSSignedData data;
        try {
            byte[] signed = Files.readAllBytes(Path.of(file));
            data = content.isEmpty() ? new CMSSignedData(signed)
                : new CMSSignedData(new CMSProcessableByteArray(Files.readAllBytes(Path.of(content))), signed);
        } catch (Exception error) {
            return "not read";
        }
        String result = "not read";
        for (SignerInformation signer : data.getSignerInfos()) {
            @SuppressWarnings("unchecked")
            Collection<X509CertificateHolder> found = data.getCertificates().getMatches(signer.getSID());
            if (found.isEmpty()) {
                return "not read";
            }
            try {
                if (!signer.verify(new JcaSimpleSignerInfoVerifierBuilder()
                        .setProvider(new BouncyCastleProvider()).build(found.iterator().next()))) {
                    return "invalid";
                }
                result = "valid";
            } catch (Exception error) {
                return "invalid";
            }
        }
        return result;
    }
}
