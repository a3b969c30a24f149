import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.HexFormat;
import javax.smartcardio.*;

/* A client of javax.smartcardio: it selects the JPKI application, and has the reader verify the authentication PIN
 * (PC/SC part 10). It prints the ATR, the features, and the answer. */
class PinClient {
    static final int GET_FEATURE_REQUEST = 0x42000000 + 3400, VERIFY_PIN_DIRECT = 6;

    public static void main(String[] arguments) throws CardException {
        CardTerminal terminal = TerminalFactory.getDefault().terminals().getTerminal(arguments[0]);
        Card card = terminal.connect("T=1");
        System.out.println(HexFormat.of().withUpperCase().formatHex(card.getATR().getBytes()));
        for (String select : new String[] {"00A4040C0AD392F000260100000001", "00A4020C020018"})
            card.getBasicChannel().transmit(new CommandAPDU(HexFormat.of().parseHex(select)));
        int verify = 0;
        ByteBuffer features = ByteBuffer.wrap(card.transmitControlCommand(GET_FEATURE_REQUEST, new byte[0]));
        while (features.hasRemaining()) {
            int tag = features.get(), length = features.get(), code = features.getInt();
            System.out.println("feature " + tag + " of " + length + " bytes");
            if (tag == VERIFY_PIN_DIRECT)
                verify = code;
        }
        byte[] template = HexFormat.of().parseHex("0020008000");
        ByteBuffer structure = ByteBuffer.allocate(19 + template.length).order(ByteOrder.LITTLE_ENDIAN);
        structure.put((byte) 0).put((byte) 0).put((byte) 0x82).put((byte) 0).put((byte) 0);
        structure.putShort((short) 0x0404).put((byte) 2).put((byte) 0xFF).putShort((short) 0x0411);
        structure.put(new byte[4]).putInt(template.length).put(template);
        System.out.println(HexFormat.of().withUpperCase().formatHex(card.transmitControlCommand(verify, structure.array())));
        card.disconnect(false);
    }
}
