import com.sun.net.httpserver.HttpsConfigurator;
import com.sun.net.httpserver.HttpsExchange;
import com.sun.net.httpserver.HttpsParameters;
import com.sun.net.httpserver.HttpsServer;
import java.io.InputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.cert.CertStore;
import java.security.cert.CertificateFactory;
import java.security.cert.CollectionCertStoreParameters;
import java.security.cert.PKIXBuilderParameters;
import java.security.cert.TrustAnchor;
import java.security.cert.X509CertSelector;
import java.security.cert.X509Certificate;
import java.util.Set;
import javax.net.ssl.CertPathTrustManagerParameters;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.TrustManagerFactory;

/**
 * An HTTPS server that asks for a card and looks it up in revocation lists.
 *
 * <pre>java CardServer.java PORT SERVER.p12 PASSWORD ROOT LISTS</pre>
 *
 * SERVER.p12 has the server's own key and certificate. ROOT is a certificate, and LISTS has the lists as PEM, one after
 * another, with the list of the authority's own certificates or the full list among them.
 */
public class CardServer {
    public static void main(String[] arguments) throws Exception {
        int port = Integer.parseInt(arguments[0]);
        char[] password = arguments[2].toCharArray();
        KeyStore own = KeyStore.getInstance(Path.of(arguments[1]).toFile(), password);
        KeyManagerFactory keys = KeyManagerFactory.getInstance("PKIX");
        keys.init(own, password);

        SSLContext context = SSLContext.getInstance("TLS");
        context.init(keys.getKeyManagers(), trust(arguments[3], arguments[4]).getTrustManagers(), null);
        HttpsServer server = HttpsServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), port), 0);
        server.setHttpsConfigurator(new HttpsConfigurator(context) {
            @Override
            public void configure(HttpsParameters connection) {
                SSLParameters parameters = context.getDefaultSSLParameters();
                parameters.setNeedClientAuth(true);
                // OpenSC's driver makes PKCS#1 v1.5 signatures only, and TLS 1.3 has none of them.
                parameters.setProtocols(new String[] {"TLSv1.2"});
                connection.setSSLParameters(parameters);
            }
        });
        server.createContext("/", exchange -> {
            var session = ((HttpsExchange) exchange).getSSLSession();
            X509Certificate certificate = (X509Certificate) session.getPeerCertificates()[0];
            String text = String.format("%X %s%n", certificate.getSerialNumber(), certificate.getSubjectX500Principal());
            byte[] body = text.getBytes(StandardCharsets.UTF_8);
            exchange.sendResponseHeaders(200, body.length);
            exchange.getResponseBody().write(body);
            exchange.close();
        });
        server.start();
    }

    private static TrustManagerFactory trust(String root, String lists) throws Exception {
        CertificateFactory factory = CertificateFactory.getInstance("X.509");
        PKIXBuilderParameters parameters;
        try (InputStream input = Files.newInputStream(Path.of(root))) {
            X509Certificate anchor = (X509Certificate) factory.generateCertificate(input);
            parameters = new PKIXBuilderParameters(Set.of(new TrustAnchor(anchor, null)), new X509CertSelector());
        }
        try (InputStream input = Files.newInputStream(Path.of(lists))) {
            var read = new CollectionCertStoreParameters(factory.generateCRLs(input));
            parameters.addCertStore(CertStore.getInstance("Collection", read));
        }
        // Without this, every card is refused: its policies are critical and have the address of a statement.
        parameters.setPolicyQualifiersRejected(false);
        parameters.setRevocationEnabled(true);
        TrustManagerFactory trust = TrustManagerFactory.getInstance("PKIX");
        trust.init(new CertPathTrustManagerParameters(parameters));
        return trust;
    }
}
