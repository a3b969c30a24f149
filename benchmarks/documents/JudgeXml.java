import java.io.ByteArrayInputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.PublicKey;
import java.security.cert.CertificateFactory;
import java.util.List;
import javax.xml.crypto.MarshalException;
import javax.xml.crypto.dsig.XMLSignature;
import javax.xml.crypto.dsig.XMLSignatureFactory;
import javax.xml.crypto.dsig.dom.DOMValidateContext;
import javax.xml.parsers.DocumentBuilderFactory;
import org.w3c.dom.Document;
import org.w3c.dom.Element;
import org.w3c.dom.NodeList;

/** Validates signatures with javax.xml.crypto: java JudgeXml.java FILE CERTIFICATE.der ... prints a line for each. */
public class JudgeXml {
    public static void main(String[] arguments) throws Exception {
        for (int number = 0; number + 1 < arguments.length; number += 2) {
            PublicKey key = CertificateFactory.getInstance("X.509").generateCertificate(
                new ByteArrayInputStream(Files.readAllBytes(Path.of(arguments[number + 1])))).getPublicKey();
            System.out.println(arguments[number] + "\t" + verdict(Path.of(arguments[number]), key));
        }
    }

    private static String verdict(Path path, PublicKey key) {
        Document document;
        try {
            DocumentBuilderFactory factory = DocumentBuilderFactory.newInstance();
            factory.setNamespaceAware(true);
            factory.setFeature("http://apache.org/xml/features/disallow-doctype-decl", true);
            var builder = factory.newDocumentBuilder();
            builder.setErrorHandler(null);
            document = builder.parse(path.toFile());
        } catch (Exception error) {
            return "not read";
        }
        NodeList signatures = document.getElementsByTagNameNS(XMLSignature.XMLNS, "Signature");
        if (signatures.getLength() == 0) {
            return "not read";
        }
        String result = "valid";
        for (int number = 0; number < signatures.getLength(); number++) {
            DOMValidateContext context = new DOMValidateContext(key, signatures.item(number));
            identify(document.getElementsByTagName("*"), context);
            try {
                XMLSignature signature = XMLSignatureFactory.getInstance("DOM").unmarshalXMLSignature(context);
                if (!signature.validate(context)) {
                    return "invalid";
                }
            } catch (MarshalException error) {
                result = "not read";
            } catch (Exception error) {
                return "invalid";
            }
        }
        return result;
    }

    private static void identify(NodeList elements, DOMValidateContext context) {
        for (int number = 0; number < elements.getLength(); number++) {
            Element element = (Element) elements.item(number);
            for (String name : List.of("Id", "ID", "id")) {
                if (element.hasAttributeNS(null, name)) {
                    context.setIdAttributeNS(element, null, name);
                }
            }
            if (element.hasAttributeNS("http://www.w3.org/XML/1998/namespace", "id")) {
                context.setIdAttributeNS(element, "http://www.w3.org/XML/1998/namespace", "id");
            }
        }
    }
}
