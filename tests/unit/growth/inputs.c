/* inputs.c - see inputs.h. */
#include "inputs.h"

#include "avow/formats/efi_siglist.h"

#include "avow/base/banned.h"

static void put_le(struct avow_buf *b, uint32_t v)
{
    uint8_t bytes[4];
    avow_put_u32le(bytes, v);
    avow_buf_put(b, bytes, sizeof bytes);
}

static void fill(struct avow_buf *b, size_t n, uint8_t byte)
{
    uint8_t *p = avow_buf_extend(b, n);
    if (p)
        memset(p, byte, n);
}

/* --- Measurement lists --- */

static void put_entry_head(struct avow_buf *b, uint8_t digest, const char *template)
{
    put_le(b, 10);
    fill(b, 20, digest);
    put_le(b, (uint32_t)strlen(template));
    avow_buf_put_str(b, template);
}

static void put_entry(struct avow_buf *b, uint8_t digest, size_t i)
{
    char path[32];
    int len = snprintf(path, sizeof path, "/usr/bin/file-%08zu", i);
    put_entry_head(b, digest, "ima-ng");
    put_le(b, 4 + 8 + 32 + 4 + (uint32_t)len + 1);
    put_le(b, 8 + 32);
    avow_buf_put(b, "sha256:", 8);
    fill(b, 32, (uint8_t)i);
    put_le(b, (uint32_t)len + 1);
    avow_buf_put(b, path, (size_t)len + 1);
}

void growth_ima_entries(struct avow_buf *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        put_entry(b, 1, i);
}

void growth_ima_violations(struct avow_buf *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        put_entry(b, 0, i);
}

void growth_ima_long_entry(struct avow_buf *b, size_t n)
{
    put_entry_head(b, 1, "ima-buf");
    put_le(b, 4 + 8 + 32 + 4 + 2 + 4 + (uint32_t)n);
    put_le(b, 8 + 32);
    avow_buf_put(b, "sha256:", 8);
    fill(b, 32, 7);
    put_le(b, 2);
    avow_buf_put(b, "k", 2);
    put_le(b, (uint32_t)n);
    fill(b, n, 'x');
}

#define HEX20 "1111111111111111111111111111111111111111"
#define HEX32 "2222222222222222222222222222222222222222222222222222222222222222"

void growth_ima_lines(struct avow_buf *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        avow_buf_printf(b, "10 " HEX20 " ima-ng sha256:" HEX32 " /usr/bin/file-%08zu\n", i);
}

void growth_ima_long_line(struct avow_buf *b, size_t n)
{
    avow_buf_put_str(b, "10 " HEX20 " ima-buf sha256:" HEX32 " k ");
    fill(b, 2 * n, 'a');
    avow_buf_put_str(b, "\n");
}

/* Every byte may be where a field ends. */
void growth_ima_colons(struct avow_buf *b, size_t n)
{
    avow_buf_put_str(b, "10 " HEX20 " ima-sig sha256:" HEX32 " ");
    for (size_t i = 0; i < n; i++)
        avow_buf_put_str(b, " :");
    avow_buf_put_str(b, "\n");
}

/* --- Policies --- */

void growth_pem_lines(struct avow_buf *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        avow_buf_put_str(b, i % 2 ? "-----END PUBLIC KEY-----\n" : "-----BEGIN PUBLIC KEY-----\n");
}

static void policy_begin(struct avow_buf *b)
{
    avow_buf_put_str(b, "{\"meta\":{\"version\":1},\"release\":0,\"digests\":{");
}

static void policy_end(struct avow_buf *b)
{
    avow_buf_put_str(b, "},\"excludes\":[]}");
}

void growth_policy_paths(struct avow_buf *b, size_t n)
{
    policy_begin(b);
    for (size_t i = 0; i < n; i++)
        avow_buf_printf(b, "%s\"/usr/bin/file-%zu\":[\"" HEX32 "\"]", i ? "," : "", i);
    policy_end(b);
}

void growth_policy_one_path(struct avow_buf *b, size_t n)
{
    policy_begin(b);
    avow_buf_put_str(b, "\"/a\":[");
    for (size_t i = 0; i < n; i++)
        avow_buf_printf(b, "%s\"%064zx\"", i ? "," : "", (n - i) * 7919);
    avow_buf_put_str(b, "]");
    policy_end(b);
}

void growth_policy_deep(struct avow_buf *b, size_t n)
{
    avow_buf_put_str(b, "{\"meta\":");
    fill(b, n, '[');
    fill(b, n, ']');
    avow_buf_put_str(b, "}");
}

void growth_policy_escapes(struct avow_buf *b, size_t n)
{
    policy_begin(b);
    avow_buf_put_str(b, "\"/");
    for (size_t i = 0; i < n; i++)
        avow_buf_put_str(b, "\\u0061");
    avow_buf_put_str(b, "\":[\"" HEX32 "\"]");
    policy_end(b);
}

void growth_policy_unknown(struct avow_buf *b, size_t n)
{
    avow_buf_put_str(b, "{\"meta\":{\"version\":1");
    for (size_t i = 0; i < n; i++)
        avow_buf_printf(b, ",\"k%zu\":{\"x\":[1]}", i);
    avow_buf_put_str(b, "},\"release\":0,\"digests\":{},\"excludes\":[]}");
}

/* --- EFI --- */

static void put_siglist(struct avow_buf *b, size_t signatures)
{
    static const uint8_t sha256[AVOW_EFI_GUID_LEN] =
        "\x26\x16\xc4\xc1\x4c\x50\x92\x40\xac\xa9\x41\xf9\x36\x93\x43\x28";
    avow_buf_put(b, sha256, sizeof sha256);
    put_le(b, (uint32_t)(28 + 48 * signatures));
    put_le(b, 0);
    put_le(b, 48);
    for (size_t i = 0; i < signatures; i++)
        fill(b, 48, (uint8_t)i);
}

void growth_siglist_lists(struct avow_buf *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        put_siglist(b, 1);
}

void growth_siglist_one(struct avow_buf *b, size_t n)
{
    put_siglist(b, n);
}

void growth_siglist_empty(struct avow_buf *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        put_siglist(b, 0);
}

/* A log of SHA-1 only: PCR, type, digest, length, data. */
static void put_event(struct avow_buf *b, uint32_t pcr, uint32_t type, const char *data, size_t len)
{
    put_le(b, pcr);
    put_le(b, type);
    fill(b, 20, 1);
    put_le(b, (uint32_t)len);
    avow_buf_put(b, data, len);
}

void growth_log_events(struct avow_buf *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        put_event(b, (uint32_t)(i % 8), 4, "\0\0\0\0", 4);
}

/* Each form that data may have been measured in is tried on each. */
void growth_log_commands(struct avow_buf *b, size_t n)
{
    static const char text[] = "grub_cmd: : : : linux /boot/vmlinuz root=/dev/sda1: quiet";
    for (size_t i = 0; i < n; i++)
        put_event(b, 8, 13, text, sizeof text);
}

void growth_log_long_event(struct avow_buf *b, size_t n)
{
    put_le(b, 8);
    put_le(b, 13);
    fill(b, 20, 1);
    put_le(b, (uint32_t)n);
    fill(b, n, ':');
}

/* --- Envelopes --- */

void growth_envelope(struct avow_buf *b, size_t n)
{
    avow_buf_put_str(b, "{\"payloadType\":\"application/vnd.keylime+json\",\"payload\":\"");
    fill(b, 4 * n, 'A');
    avow_buf_put_str(b, "\",\"signatures\":[{\"sig\":\"AAAA\"}]}");
}

void growth_envelope_deep(struct avow_buf *b, size_t n)
{
    avow_buf_put_str(b, "{\"payloadType\":\"application/vnd.keylime+json\",\"x\":");
    fill(b, n, '[');
    fill(b, n, ']');
    avow_buf_put_str(b, ",\"payload\":\"AAAA\",\"signatures\":[{\"sig\":\"AAAA\"}]}");
}
