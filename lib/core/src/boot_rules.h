/* boot_rules.h - a boot policy in our own language, compiled. Private to lib/core. Immutable;
 * shareable between threads. What the members demand: docs/BOOT-POLICY.md. */
#ifndef AVOW_CORE_BOOT_RULES_H
#define AVOW_CORE_BOOT_RULES_H

#include "avow/core/boot_policy.h"

#include "excludes.h"

#define AVOW_BOOT_BOOTS_MAX 64u
#define AVOW_BOOT_FIRMWARE_MAX 256u
#define AVOW_BOOT_STEPS_MAX 512u         /* of a sequence; of the rules without an order */
#define AVOW_BOOT_DIGESTS_MAX 4096u      /* of a step */
#define AVOW_BOOT_TEXTS_MAX 1024u        /* expressions of a list */
#define AVOW_BOOT_EXPRESSIONS_MAX 16384u /* of a policy */
#define AVOW_BOOT_KEYS_MAX 65536u        /* signatures or digests of a list */
#define AVOW_BOOT_VARIABLES_MAX 256u     /* of a boot; also names under "authorities" */
#define AVOW_BOOT_NAME_MAX 128u          /* bytes of a name */
#define AVOW_BOOT_TEXT_MAX 65536u        /* bytes of an event's text that is judged */
#define AVOW_BOOT_TRIES_MAX 16384u       /* expressions that are no literals, tried per judgement */
#define AVOW_BOOT_POLICY_BYTES_MAX (64u * 1024u * 1024u) /* compiled, without expressions */

#define AVOW_BOOT_ID_LEN 32u
/* Sorted SHA-256s: of signatures in their text form, or of a variable's value. */
struct avow_boot_ids {
    uint8_t (*items)[AVOW_BOOT_ID_LEN];
    size_t count, cap;
};
struct avow_boot_digest {
    uint8_t alg;                    /* enum avow_hash fits */
    uint8_t bytes[AVOW_DIGEST_MAX]; /* zeros behind the digest */
};
/* Expressions for whole texts. */
struct avow_boot_texts {
    struct avow_excludes x;
    bool dot_is_newline;          /* too */
    struct avow_boot_texts *next; /* all of the policy: for free */
};

enum avow_boot_how { AVOW_BOOT_ANY, AVOW_BOOT_DIGESTS, AVOW_BOOT_TEXT };
/* What explains an event. */
struct avow_boot_step {
    const char *name; /* NULL: none was given */
    uint8_t pcr;
    bool has_type, forbidden;
    uint32_t type;
    enum avow_boot_how how;
    struct avow_boot_digest *digests; /* sorted */
    size_t digests_count, digests_cap;
    uint32_t algs; /* bit i: an algorithm with TPM_ALG_ID i has digests */
    const struct avow_boot_texts *texts;
    uint32_t min, max;
    size_t at; /* its place among the counters of a judgement */
};
struct avow_boot_steps {
    struct avow_boot_step *items;
    size_t count, cap;
};

/* X(member, name of the variable, GUID as stored): UEFI 2.10, 3.3, 32.4.1. */
#define AVOW_BOOT_GUID_GLOBAL "\x61\xdf\xe4\x8b\xca\x93\xd2\x11\xaa\x0d\x00\xe0\x98\x03\x2b\x8c"
#define AVOW_BOOT_GUID_SECURITY "\xcb\xb2\x19\xd7\x3a\x3d\x96\x45\xa3\xbc\xda\xd0\x0e\x67\x65\x6f"
#define AVOW_BOOT_GUID_SHIM "\x50\xab\x5d\x60\x46\xe0\x00\x43\xab\xb6\x3d\xd8\x10\xdd\x8b\x23"
#define AVOW_BOOT_KEY_MAP(X)                                                                       \
    X(PK, "PK", AVOW_BOOT_GUID_GLOBAL)                                                             \
    X(KEK, "KEK", AVOW_BOOT_GUID_GLOBAL)                                                           \
    X(DB, "db", AVOW_BOOT_GUID_SECURITY)                                                           \
    X(DBX, "dbx", AVOW_BOOT_GUID_SECURITY)                                                         \
    X(DBT, "dbt", AVOW_BOOT_GUID_SECURITY)                                                         \
    X(DBR, "dbr", AVOW_BOOT_GUID_SECURITY)
enum avow_boot_key {
#define X(id, name, guid) AVOW_BOOT_KEY_##id,
    AVOW_BOOT_KEY_MAP(X)
#undef X
        AVOW_BOOT_KEY_COUNT
};

struct avow_boot_keys { /* contains <= what is there <= allows */
    bool judged, has_contains, has_allows;
    struct avow_boot_ids contains, allows;
};
struct avow_boot_variable {
    const char *name; /* UTF-8 */
    uint8_t pcr;
    uint8_t guid[16];
    bool authority, any;
    struct avow_boot_ids values;
    uint32_t min, max;
    size_t at;
};
struct avow_boot_variables {
    struct avow_boot_variable *items;
    size_t count, cap;
};

enum avow_boot_state { AVOW_BOOT_UNJUDGED = 0, AVOW_BOOT_OFF, AVOW_BOOT_ON };
/* What a boot must be: the part that all have in common, or the rest of one of them. */
struct avow_boot_set {
    const char *name;
    enum avow_boot_state secure_boot;
    struct avow_boot_keys keys[AVOW_BOOT_KEY_COUNT];
    bool has_keys, has_authorities, any_command;
    struct avow_boot_variables authorities; /* name and values only */
    struct avow_boot_variables variables;
    const struct avow_boot_texts *command_lines, *commands;
    struct avow_boot_steps sequences[AVOW_EVENT_PCRS]; /* in order */
    uint32_t has_sequence;                             /* bit i: PCR i has one, or an empty one */
    struct avow_boot_steps events, forbidden;          /* without an order */
    uint32_t judged;                                   /* PCRs of which every event is explained */
};
struct avow_boot_firmware {
    const char *name;
    struct avow_boot_steps steps; /* of PCR 0, in order */
};
struct avow_boot_rules {
    struct avow_arena arena;
    struct avow_boot_texts *texts;
    size_t expressions;
    struct avow_boot_set common;
    struct avow_boot_set *boots;
    size_t boots_count, boots_cap;
    bool has_boots, has_firmware;
    struct avow_boot_firmware *firmware;
    size_t firmware_count, firmware_cap;
    size_t counters; /* of a judgement */
    uint32_t pcrs;
};

extern const struct avow_boot_kind avow_boot_rules_kind;

enum avow_rc avow_boot_rules_load(struct avow_bytes json, void **out, struct avow_err *err);
void avow_boot_rules_free(void *rules);
enum avow_rc avow_boot_rules_judge(const void *rules, const struct avow_boot_judge *j,
                                   struct avow_err *err);

bool avow_boot_ids_have(const struct avow_boot_ids *ids, const uint8_t id[AVOW_BOOT_ID_LEN],
                        size_t *at);
/* Sorts them, each once. */
void avow_boot_ids_finish(struct avow_boot_ids *ids);
int avow_boot_digest_cmp(const void *a, const void *b);
/* Room for one more item of `size` bytes, which is zeroed; NULL: the arena is full, or there is no
 * memory. The items may move. */
void *avow_boot_add(struct avow_arena *arena, void *items, size_t *count, size_t *cap, size_t size);

#endif
