import java.nio.file.*;
import java.security.*;
import java.security.spec.X509EncodedKeySpec;
import java.util.*;

/** java VerifyRevocation.java RECORD WORKER.pem: says whether the worker's key signed the record, as on the topic. */
public class VerifyRevocation {
    public static void main(String[] args) throws Exception {
        byte[] record = Files.readAllBytes(Path.of(args[0]));
        byte[] spki = Base64.getMimeDecoder().decode(Files.readString(Path.of(args[1])).replaceAll("-----.*-----", ""));
        int n = record.length;
        StringBuilder kind = new StringBuilder("avow.Revocation;");
        for (int i = 9; i > 1; i--) // the schema's fingerprint, little-endian in the frame
            kind.append(String.format("%02x", record[i]));
        byte[] body = Arrays.copyOfRange(record, 10, n - 72);
        byte[] head = ("DSSEv1 " + kind.length() + " " + kind + " " + body.length + " ").getBytes();
        byte[] id = Arrays.copyOf(MessageDigest.getInstance("SHA-256").digest(spki), 8);
        Signature verifier = Signature.getInstance("SHA256withECDSAinP1363Format");
        verifier.initVerify(KeyFactory.getInstance("EC").generatePublic(new X509EncodedKeySpec(spki)));
        verifier.update(head);
        verifier.update(body);
        boolean good = Arrays.equals(id, Arrays.copyOfRange(record, n - 72, n - 64)) && verifier.verify(record, n - 64, 64);
        System.out.println(good ? "signed by this key" : "not a record that this key signed");
        System.exit(good ? 0 : 1);
    }
}
