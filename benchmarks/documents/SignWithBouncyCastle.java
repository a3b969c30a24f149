import com.lowagie.text.pdf.PdfDictionary;
import com.lowagie.text.pdf.PdfName;
import com.lowagie.text.pdf.PdfReader;
import com.lowagie.text.pdf.PdfSignature;
import com.lowagie.text.pdf.PdfSignatureAppearance;
import com.lowagie.text.pdf.PdfStamper;
import com.lowagie.text.pdf.PdfString;
import java.io.ByteArrayInputStream;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyFactory;
import java.security.PrivateKey;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.Arrays;
import java.util.Calendar;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.pdfbox.Loader;
import org.apache.pdfbox.pdmodel.PDDocument;
import org.apache.pdfbox.pdmodel.interactive.digitalsignature.PDSignature;
import org.bouncycastle.cert.jcajce.JcaCertStore;
import org.bouncycastle.cert.jcajce.JcaX509ExtensionUtils;
import org.bouncycastle.cms.CMSProcessableByteArray;
import org.bouncycastle.cms.CMSSignedDataGenerator;
import org.bouncycastle.cms.SignerInfoGenerator;
import org.bouncycastle.cms.jcajce.JcaSignerInfoGeneratorBuilder;
import org.bouncycastle.operator.ContentSigner;
import org.bouncycastle.operator.jcajce.JcaContentSignerBuilder;
import org.bouncycastle.operator.jcajce.JcaDigestCalculatorProviderBuilder;

/** Signs CMS with BouncyCastle and PDF with PDFBox and OpenPDF: java SignWithBouncyCastle.java KEY.der CERTIFICATE.der CONTENT UNSIGNED.pdf FOLDER. */
public class SignWithBouncyCastle {
    private static final int ROOM = 8192;

    private static PrivateKey key;
    private static X509Certificate certificate;

    public static void main(String[] arguments) throws Exception {
        key = KeyFactory.getInstance("RSA").generatePrivate(
            new PKCS8EncodedKeySpec(Files.readAllBytes(Path.of(arguments[0]))));
        certificate = (X509Certificate) CertificateFactory.getInstance("X.509").generateCertificate(
            new ByteArrayInputStream(Files.readAllBytes(Path.of(arguments[1]))));
        byte[] content = Files.readAllBytes(Path.of(arguments[2]));
        Path folder = Path.of(arguments[4]);

        Files.write(folder.resolve("detached.p7m"), signed(content, "SHA256", false, false, false));
        Files.write(folder.resolve("attached.p7m"), signed(content, "SHA256", true, false, false));
        Files.write(folder.resolve("sha512.p7m"), signed(content, "SHA512", false, false, false));
        Files.write(folder.resolve("keyid.p7m"), signed(content, "SHA256", false, true, false));
        Files.write(folder.resolve("noattr.p7m"), signed(content, "SHA256", false, false, true));
        for (String filter : List.of("adbe.pkcs7.detached", "ETSI.CAdES.detached")) {
            sign(Path.of(arguments[3]), filter, folder.resolve(filter + ".pdf"));
        }
        signWithOpenPdf(Path.of(arguments[3]), folder.resolve("b.pdf"));
        sign(folder.resolve("adbe.pkcs7.detached.pdf"), "adbe.pkcs7.detached", folder.resolve("twice.pdf"));
    }

    private static byte[] signed(byte[] content, String digest, boolean attached, boolean byKey, boolean bare)
            throws Exception {
        ContentSigner signer = new JcaContentSignerBuilder(digest + "withRSA").build(key);
        JcaSignerInfoGeneratorBuilder builder = new JcaSignerInfoGeneratorBuilder(
            new JcaDigestCalculatorProviderBuilder().build()).setDirectSignature(bare);
        SignerInfoGenerator info = byKey
            ? builder.build(signer, new JcaX509ExtensionUtils()
                .createSubjectKeyIdentifier(certificate.getPublicKey()).getKeyIdentifier())
            : builder.build(signer, certificate);
        CMSSignedDataGenerator generator = new CMSSignedDataGenerator();
        generator.addSignerInfoGenerator(info);
        generator.addCertificates(new JcaCertStore(List.of(certificate)));
        return generator.generate(new CMSProcessableByteArray(content), attached).getEncoded();
    }

    private static void signWithOpenPdf(Path source, Path target) throws Exception {
        try (OutputStream out = Files.newOutputStream(target)) {
            PdfReader reader = new PdfReader(Files.readAllBytes(source));
            PdfSignatureAppearance signing = PdfStamper.createSignature(reader, out, '\0', null, true)
                .getSignatureAppearance();
            signing.setCryptoDictionary(new PdfSignature(PdfName.ADOBE_PPKLITE, PdfName.ADBE_PKCS7_DETACHED));
            signing.preClose(new HashMap<>(Map.of(PdfName.CONTENTS, 2 * ROOM + 2)));
            byte[] value = signed(signing.getRangeStream().readAllBytes(), "SHA256", false, false, false);
            PdfDictionary filled = new PdfDictionary();
            filled.put(PdfName.CONTENTS, new PdfString(Arrays.copyOf(value, ROOM)).setHexWriting(true));
            signing.close(filled);
        }
    }

    private static void sign(Path source, String filter, Path target) throws Exception {
        try (PDDocument document = Loader.loadPDF(source.toFile()); OutputStream out = Files.newOutputStream(target)) {
            PDSignature signature = new PDSignature();
            signature.setFilter(PDSignature.FILTER_ADOBE_PPKLITE);
            signature.setSubFilter(org.apache.pdfbox.cos.COSName.getPDFName(filter));
            signature.setName("PDFBox");
            signature.setSignDate(Calendar.getInstance());
            document.addSignature(signature);
            var signing = document.saveIncrementalForExternalSigning(out);
            try (InputStream content = signing.getContent()) {
                signing.setSignature(signed(content.readAllBytes(), "SHA256", false, false, false));
            }
        }
    }
}
