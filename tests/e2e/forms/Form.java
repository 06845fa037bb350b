// Reads forms with java.net.URLDecoder: a line of standard input has a content type and a body in hexadecimal.
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.net.URLDecoder;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.Map;

import static java.nio.charset.StandardCharsets.UTF_8;

class Form {
    public static void main(String[] arguments) throws Exception {
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            String body = new String(HexFormat.of().parseHex(line.split("\t")[1]), UTF_8);
            Map<String, String> form = new HashMap<>();
            for (String pair : body.split("&")) {
                String[] both = pair.split("=", 2);
                form.put(URLDecoder.decode(both[0], UTF_8), URLDecoder.decode(both[1], UTF_8));
            }
            String from = HexFormat.of().formatHex(form.get("from").getBytes(UTF_8));
            System.out.println(from + " " + form.get("event") + " " + form.get("sequence") + " " + form.get("time"));
        }
    }
}
