/* event_yaml.c - see event_yaml.h. */
#include "event_yaml.h"

#include "avow/base/cleanup.h"
#include "avow/base/hex.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "avow/base/banned.h"

#define HEX_CHUNK 64u
#define NAME_MAX_BYTES (4u * AVOW_EVENT_DATA_MAX)
#define BLOB_LEN 16u
#define SPEC_FIXED 28u /* PFP 10.4.5.1: what stands before the algorithms */

/* --- Pieces --- */

static void put_hex(struct avow_bytes b)
{
    char hex[2 * HEX_CHUNK + 1];
    for (size_t i = 0; i < b.len; i += HEX_CHUNK) {
        size_t n = b.len - i < HEX_CHUNK ? b.len - i : HEX_CHUNK;
        avow_hex_encode(hex, avow_bytes_make(b.ptr + i, n));
        (void)fputs(hex, stdout);
    }
}

static void put_quoted(const char *key, struct avow_bytes b)
{
    printf("%s: \"", key);
    put_hex(b);
    printf("\"\n");
}

static void put_alg(const char *key, uint16_t id)
{
    const char *name = avow_hash_name((enum avow_hash)id);
    if (name)
        printf("%s: %s\n", key, name);
    else
        printf("%s: 0x%04x\n", key, id);
}

/* What tpm2-tools 5.4 has no name for. */
static const char *type_text(uint32_t type)
{
    static const uint32_t newer[] = {AVOW_EV_POST_CODE2,
                                     AVOW_EV_EFI_EVENT_BASE,
                                     AVOW_EV_EFI_GPT_EVENT2,
                                     AVOW_EV_EFI_HCRTM_EVENT,
                                     AVOW_EV_EFI_SPDM_FIRMWARE_BLOB,
                                     AVOW_EV_EFI_SPDM_FIRMWARE_CONFIG,
                                     AVOW_EV_EFI_SPDM_DEVICE_POLICY,
                                     AVOW_EV_EFI_SPDM_DEVICE_AUTHORITY};
    const char *name = avow_event_type_name(type);
    for (size_t i = 0; i < AVOW_ARRAY_LEN(newer); i++)
        name = type == newer[i] ? NULL : name;
    return name ? name : "Unknown event type";
}

/* --- Data --- */

static void put_escaped(uint8_t c)
{
    static const struct {
        char c, letter;
    } escapes[] = {{0, '0'},    {'\a', 'a'}, {'\b', 'b'}, {'\t', 't'},  {'\v', 'v'},
                   {'\f', 'f'}, {'\r', 'r'}, {27, 'e'},   {'\'', '\''}, {'\\', '\\'}};
    for (size_t i = 0; i < AVOW_ARRAY_LEN(escapes); i++) {
        if (c == (uint8_t)escapes[i].c) {
            printf("\\%c", escapes[i].letter);
            return;
        }
    }
    (void)fputc(c, stdout);
}

/* Each line in quotes; what follows the last newline only if there is something. */
static void put_lines(struct avow_bytes data)
{
    printf("  Event:\n    String: |-\n");
    for (size_t i = 0; i < data.len; i++) {
        printf("      \"");
        for (; i < data.len && data.ptr[i] != '\n'; i++)
            put_escaped(data.ptr[i]);
        printf("\"\n");
    }
}

static void put_text(struct avow_bytes data)
{
    const uint8_t *nul = memchr(data.ptr, 0, data.len);
    printf("  Event: |-\n    ");
    (void)fwrite(data.ptr, 1, nul ? (size_t)(nul - data.ptr) : data.len, stdout);
    printf("\n");
}

static void put_base(struct avow_rd *r)
{
    printf("    BlobBase: 0x%" PRIx64 "\n", avow_rd_u64le(r));
    printf("    BlobLength: 0x%" PRIx64 "\n", avow_rd_u64le(r));
}

static bool put_blob(struct avow_bytes data)
{
    struct avow_rd r = avow_rd_make(data);
    if (data.len < BLOB_LEN)
        return false;
    printf("  Event:\n");
    put_base(&r);
    return true;
}

/* The last byte of the description is not printed by 5.4. */
static bool put_named_blob(struct avow_bytes data)
{
    struct avow_rd r = avow_rd_make(data);
    uint8_t size = avow_rd_u8(&r);
    struct avow_bytes name = avow_rd_take(&r, size);
    if (r.bad || data.len < 1 + (size_t)size + BLOB_LEN)
        return false;
    printf("  Event:\n    BlobDescriptionSize: %u\n", size);
    put_quoted("    BlobDescription", avow_bytes_make(name.ptr, size ? size - 1u : 0));
    put_base(&r);
    return true;
}

static bool put_image(struct avow_bytes data)
{
    struct avow_rd r = avow_rd_make(data);
    uint64_t base = avow_rd_u64le(&r), length = avow_rd_u64le(&r), link = avow_rd_u64le(&r);
    uint64_t path = avow_rd_u64le(&r);
    if (r.bad)
        return false;
    printf("  Event:\n");
    printf("    ImageLocationInMemory: 0x%" PRIx64 "\n", base);
    printf("    ImageLengthInMemory: %" PRIu64 "\n", length);
    printf("    ImageLinkTimeAddress: 0x%" PRIx64 "\n", link);
    printf("    LengthOfDevicePath: %" PRIu64 "\n", path);
    printf("    DevicePath: '");
    put_hex(avow_bytes_make(data.ptr + 32, data.len - 32));
    printf("'\n");
    return true;
}

static bool put_variable(struct avow_bytes data, struct avow_buf *name)
{
    struct avow_event_variable v;
    char guid[AVOW_GUID_TEXT_MAX];
    if (!avow_event_variable_parse(data, &v))
        return false;
    avow_guid_text(v.guid, guid);
    avow_buf_reset(name);
    avow_event_put_utf16(name, v.name);
    printf("  Event:\n    VariableName: %s\n", guid);
    printf("    UnicodeNameLength: %zu\n", v.name.len / 2);
    printf("    VariableDataLength: %zu\n", v.value.len);
    printf("    UnicodeName: %.*s\n", (int)name->len, avow_buf_cstr(name));
    if (v.value.len)
        put_quoted("    VariableData", v.value);
    return true;
}

static bool is_code(uint32_t type)
{
    return type == AVOW_EV_POST_CODE || type == AVOW_EV_S_CRTM_CONTENTS ||
           type == AVOW_EV_EFI_PLATFORM_FIRMWARE_BLOB;
}

static bool is_image(uint32_t type)
{
    return type == AVOW_EV_EFI_BOOT_SERVICES_APPLICATION ||
           type == AVOW_EV_EFI_BOOT_SERVICES_DRIVER || type == AVOW_EV_EFI_RUNTIME_SERVICES_DRIVER;
}

/* In the form of its type. False: it has not that form, or the type has none. */
static bool put_by_type(const struct avow_event *e, struct avow_buf *name)
{
    struct avow_bytes data = e->untrusted_data;
    uint32_t type = e->untrusted_type;
    if (type == AVOW_EV_IPL) {
        put_lines(data);
        return true;
    }
    if (type == AVOW_EV_EFI_ACTION || (type == AVOW_EV_POST_CODE && data.len != BLOB_LEN)) {
        put_text(data);
        return true;
    }
    if (is_code(type))
        return put_blob(data);
    if (type == AVOW_EV_EFI_PLATFORM_FIRMWARE_BLOB2)
        return put_named_blob(data);
    if (is_image(type))
        return put_image(data);
    return avow_event_has_variable(e) && put_variable(data, name);
}

/* --- Events --- */

static void put_spec(struct avow_bytes data)
{
    struct avow_rd r = avow_rd_make(data);
    struct avow_bytes signature = avow_rd_take(&r, 16);
    uint32_t platform = avow_rd_u32le(&r);
    uint8_t minor = avow_rd_u8(&r), major = avow_rd_u8(&r), errata = avow_rd_u8(&r);
    uint8_t uintn = avow_rd_u8(&r);
    uint32_t algs = avow_rd_u32le(&r);
    printf("  SpecID:\n  - Signature: %.16s\n", signature.ptr ? (const char *)signature.ptr : "");
    printf("    platformClass: %" PRIu32 "\n", platform);
    printf("    specVersionMinor: %u\n    specVersionMajor: %u\n", minor, major);
    printf("    specErrata: %u\n    uintnSize: %u\n", errata, uintn);
    printf("    numberOfAlgorithms: %" PRIu32 "\n    Algorithms:\n", algs);
    for (uint32_t i = 0; i < algs && !r.bad; i++) {
        printf("    - Algorithm[%" PRIu32 "]:\n", i);
        put_alg("      algorithmId", avow_rd_u16le(&r));
        printf("      digestSize: %u\n", avow_rd_u16le(&r));
    }
    uint8_t vendor = avow_rd_u8(&r);
    printf("    vendorInfoSize: %u\n", vendor);
    if (vendor)
        put_quoted("    vendorInfo", avow_rd_take(&r, vendor));
}

static void put_digests(const struct avow_event *e)
{
    printf("  DigestCount: %zu\n  Digests:\n", e->digests_count);
    for (size_t i = 0; i < e->digests_count; i++) {
        put_alg("  - AlgorithmId", e->digests[i].alg);
        put_quoted("    Digest", e->digests[i].value);
    }
}

static void put_event(const struct avow_event_log *log, const struct avow_event *e,
                      struct avow_buf *name)
{
    bool is_header = log->crypto_agile && e->index == 0;
    printf("- EventNum: %zu\n  PCRIndex: %" PRIu32 "\n  EventType: %s\n", e->index, e->pcr,
           type_text(e->untrusted_type));
    if (is_header)
        put_quoted("  Digest", avow_event_digest_of(e, AVOW_HASH_SHA1));
    else
        put_digests(e);
    printf("  EventSize: %zu\n", e->untrusted_data.len);
    if (is_header && e->untrusted_data.len >= SPEC_FIXED)
        put_spec(e->untrusted_data);
    else if (e->untrusted_data.len && !put_by_type(e, name))
        put_quoted("  Event", e->untrusted_data);
}

static void put_bank(const struct avow_event_bank *bank)
{
    printf("  %s:\n", avow_hash_name(bank->alg));
    for (unsigned i = 0; i < AVOW_EVENT_PCRS; i++) {
        if (!(bank->changed & UINT32_C(1) << i))
            continue;
        printf("    %-2u : 0x", i);
        put_hex(avow_digest_bytes(&bank->values[i]));
        printf("\n");
    }
}

enum avow_rc avow_event_yaml_print(const struct avow_event_log *log,
                                   const struct avow_event_replay *replay, struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf name;
    struct avow_event_walk w;
    struct avow_event e;
    avow_buf_init(&name, NAME_MAX_BYTES);
    printf("---\nversion: 1\nevents:\n");
    avow_event_walk_init(&w, log);
    while (avow_event_walk_next(&w, &e))
        put_event(log, &e, &name);
    printf("pcrs:\n");
    for (size_t i = 0; i < replay->banks_count; i++) {
        if (replay->banks[i].changed)
            put_bank(&replay->banks[i]);
    }
    return name.failed == AVOW_NOMEM ? avow_err_set(err, AVOW_NOMEM, 0, "names of variables")
                                     : AVOW_OK;
}
