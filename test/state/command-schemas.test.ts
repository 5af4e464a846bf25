/* Command schemas: what is no command of its level is told from one before anything is applied. */

import tap from "tap";

import { type Command, type Level, faultOf, newestLevel } from "../../broker/state/index.ts";

/** One of each, with all that it may have. */
const samples: { readonly [op in Command["op"]]: Extract<Command, { op: op }> } = {
  user: { op: "user", user: ["Straße", "strasse"] },
  post: {
    op: "post",
    user: "ann",
    text: "",
    mentions: ["bob", ["Éva", "éva"]],
    tags: ["t"],
    data: { any: [null, 1.5, "x"] },
    replyTo: "e-1",
    key: "k",
  },
  repost: { op: "repost", user: "ann", post: "e-1" },
  delete: { op: "delete", user: "ann", post: "e-1" },
  follow: { op: "follow", user: "ann", target: "ben", most: 10 },
  unfollow: { op: "unfollow", user: "ann", target: "ben" },
  trim: { op: "trim", floor: 5, most: 10, keyLifeMs: 1 },
  level: { op: "level", to: newestLevel },
};
const optional = new Set(["data", "replyTo", "key", "most of follow"]);
/** Of no type that any field has, but `data`, which may be anything. */
const wrong = [undefined, null, true, {}, -1, 1.5, 2 ** 53, Number.NaN, [1], [["a"]], [["a", "b", "c"]]];
/** What none of the fields with names takes. */
const wrongNames = ["", "a\u0000b", "x".repeat(257), [], ["a"], ["a", ""], ["a", "b", "c"]];

function stamped(command: object): Record<string, unknown> {
  return { ...command, at: 5 };
}

for (const [op, sample] of Object.entries(samples)) {
  await tap.test(`${op}: one field that is missing, of another type or too many is found`, (t) => {
    const good = stamped(sample);
    t.equal(faultOf(good, newestLevel), undefined);
    for (const field of Object.keys(good)) {
      const { [field]: value, ...without } = good;
      const isOptional = optional.has(field) || optional.has(`${field} of ${op}`);
      const absent = faultOf(without, newestLevel);
      if (isOptional) t.equal(absent, undefined, `without ${field}`);
      else t.type(absent, "string", `without ${field}`);
      if (field === "data") continue;
      for (const other of wrong)
        if (!(isOptional && other === undefined))
          t.type(
            faultOf({ ...good, [field]: other }, newestLevel),
            "string",
            `${field}: ${JSON.stringify(other)}`,
          );
      t.type(
        faultOf({ ...good, [field]: typeof value === "string" ? 5 : "\u0000" }, newestLevel),
        "string",
        field,
      );
    }
    t.match(faultOf({ ...good, extra: 1 }, newestLevel), new RegExp(`^${op}`), "says which command it is");
    t.end();
  });
}

await tap.test("a name is a text, or one with what it folds to; from level 2 on", (t) => {
  for (const name of wrongNames) {
    t.type(faultOf(stamped({ ...samples.user, user: name }), 2), "string", JSON.stringify(name));
    t.type(faultOf(stamped({ ...samples.post, tags: [name] }), 2), "string", JSON.stringify(name));
  }
  t.type(faultOf(stamped(samples.user), 1), "string");
  t.equal(faultOf(stamped({ op: "user", user: "Straße" }), 1), undefined);
  t.end();
});

await tap.test("a command that a level does not have is told by name", (t) => {
  const levels: Level[] = [1, 2];
  for (const level of levels) {
    t.match(faultOf(stamped({ op: "mute", user: "ann" }), level), /there is no command "mute"/);
    t.match(faultOf(stamped({ op: "constructor" }), level), /there is no command/);
    for (const none of [undefined, null, 5, "post", [], {}, { op: 5 }])
      t.match(faultOf(none, level), /a command is a map with an op/);
  }
  t.match(faultOf(stamped(samples.level), 1), /there is no command "level"/);
  t.type(
    faultOf(stamped({ op: "level", to: newestLevel + 1 }), 2),
    "string",
    "a level that this version does not read",
  );
  t.type(faultOf(stamped({ op: "level", to: 1 }), 2), "string");
  t.type(
    faultOf(stamped({ op: "trim", floor: 5, most: 10 }), 2),
    "string",
    "a lifetime is said from level 2 on",
  );
  t.equal(faultOf(stamped({ op: "trim", floor: 5, most: 10 }), 1), undefined);
  t.end();
});
