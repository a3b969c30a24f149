import java.io.ByteArrayInputStream;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyFactory;
import java.security.PrivateKey;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.List;
import java.util.Map;
import javax.xml.crypto.dom.DOMStructure;
import javax.xml.crypto.dsig.CanonicalizationMethod;
import javax.xml.crypto.dsig.DigestMethod;
import javax.xml.crypto.dsig.Reference;
import javax.xml.crypto.dsig.SignatureMethod;
import javax.xml.crypto.dsig.SignedInfo;
import javax.xml.crypto.dsig.Transform;
import javax.xml.crypto.dsig.XMLObject;
import javax.xml.crypto.dsig.XMLSignatureFactory;
import javax.xml.crypto.dsig.dom.DOMSignContext;
import javax.xml.crypto.dsig.keyinfo.KeyInfo;
import javax.xml.crypto.dsig.keyinfo.KeyInfoFactory;
import javax.xml.crypto.dsig.spec.C14NMethodParameterSpec;
import javax.xml.crypto.dsig.spec.TransformParameterSpec;
import javax.xml.parsers.DocumentBuilderFactory;
import javax.xml.transform.TransformerFactory;
import javax.xml.transform.dom.DOMSource;
import javax.xml.transform.stream.StreamResult;
import org.w3c.dom.Document;

/** Signs documents with javax.xml.crypto: java SignXml.java KEY.der CERTIFICATE.der FOLDER UNSIGNED.xml ... */
public class SignXml {
    private static final XMLSignatureFactory FACTORY = XMLSignatureFactory.getInstance("DOM");
    private static final Map<String, String> METHODS = Map.of(
        "inclusive", CanonicalizationMethod.INCLUSIVE, "exclusive", CanonicalizationMethod.EXCLUSIVE);

    private static PrivateKey key;
    private static X509Certificate certificate;

    public static void main(String[] arguments) throws Exception {
        key = KeyFactory.getInstance("RSA").generatePrivate(
            new PKCS8EncodedKeySpec(Files.readAllBytes(Path.of(arguments[0]))));
        certificate = (X509Certificate) CertificateFactory.getInstance("X.509").generateCertificate(
            new ByteArrayInputStream(Files.readAllBytes(Path.of(arguments[1]))));
        Path folder = Path.of(arguments[2]);
        for (int number = 3; number < arguments.length; number++) {
            Path source = Path.of(arguments[number]);
            String name = source.getFileName().toString().replace(".xml", "");
            for (String prefix : List.of("", "ds")) {
                for (String method : METHODS.keySet()) {
                    Path target = folder.resolve(name + "-" + (prefix.isEmpty() ? "bare" : prefix) + "-" + method + ".xml");
                    write(enveloped(parsed(source), prefix, METHODS.get(method)), target);
                }
            }
            if (name.equals("prefixed")) { // the serializer does not write the xmlns="" that an element of no namespace needs
                write(enveloping(parsed(source)), folder.resolve("enveloping.xml"));
            }
        }
    }

    private static Document enveloped(Document document, String prefix, String method) throws Exception {
        List<Transform> transforms = List.of(
            FACTORY.newTransform(Transform.ENVELOPED, (TransformParameterSpec) null),
            FACTORY.newTransform(method, (TransformParameterSpec) null));
        DOMSignContext context = new DOMSignContext(key, document.getDocumentElement());
        if (!prefix.isEmpty()) {
            context.setDefaultNamespacePrefix(prefix);
        }
        FACTORY.newXMLSignature(signedInfo("", transforms, method), keyInfo()).sign(context);
        return document;
    }

    private static Document enveloping(Document document) throws Exception {
        XMLObject object = FACTORY.newXMLObject(
            List.of(new DOMStructure(document.getDocumentElement())), "content", null, null);
        Document result = factory().newDocumentBuilder().newDocument();
        SignedInfo info = signedInfo("#content", List.of(), CanonicalizationMethod.INCLUSIVE);
        FACTORY.newXMLSignature(info, keyInfo(), List.of(object), null, null).sign(new DOMSignContext(key, result));
        return result;
    }

    private static SignedInfo signedInfo(String uri, List<Transform> transforms, String method) throws Exception {
        DigestMethod digest = FACTORY.newDigestMethod(DigestMethod.SHA256, null);
        Reference reference = FACTORY.newReference(uri, digest, transforms, null, null);
        return FACTORY.newSignedInfo(
            FACTORY.newCanonicalizationMethod(method, (C14NMethodParameterSpec) null),
            FACTORY.newSignatureMethod("http://www.w3.org/2001/04/xmldsig-more#rsa-sha256", null),
            List.of(reference));
    }

    private static KeyInfo keyInfo() {
        KeyInfoFactory keys = FACTORY.getKeyInfoFactory();
        return keys.newKeyInfo(List.of(keys.newX509Data(List.of(certificate))));
    }

    private static DocumentBuilderFactory factory() {
        DocumentBuilderFactory factory = DocumentBuilderFactory.newInstance();
        factory.setNamespaceAware(true);
        return factory;
    }

    private static Document parsed(Path path) throws Exception {
        return factory().newDocumentBuilder().parse(path.toFile());
    }

    private static void write(Document document, Path path) throws Exception {
        try (OutputStream out = Files.newOutputStream(path)) {
            TransformerFactory.newInstance().newTransformer().transform(new DOMSource(document), new StreamResult(out));
        }
    }
}
