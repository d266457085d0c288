// A policy in JavaScript: one role uses one key through one service.

const LOOK = "look-at-keys";
const VOLUMES = "volumes";
const NO_ROOT = "no-root-users";

export const policy = {
  // This policy's rules are its code; it takes no document.
  configure(document) {
    if (document.length > 0) {
      throw [{ source: document[0].name, line: 0, column: 0, message: "this policy takes no document" }];
    }
  },

  // Only facts that are named here are filled in, and decisions are cached by their values.
  describe() {
    return {
      engine: "small (JavaScript)",
      reads: { operation: true, keyId: true, principal: true, viaService: true },
      rules: [LOOK, VOLUMES, NO_ROOT],
      messages: [[NO_ROOT, "Root users don't work with data here. Use a role."]],
    };
  },

  evaluate({ operation, keyId, principal, viaService }) {
    if (operation === "get-key-metadata") return decide("allow", LOOK);
    if (principal.tag !== "arn") return decide("deny");
    const { service, account, resource, role } = principal.val;
    if (service === "iam" && resource === "root") return decide("deny", NO_ROOT);
    const app = account === "111122223333" && role === "App";
    return app && keyId === "demo" && viaService === "ebs" ? decide("allow", VOLUMES) : decide("deny");
  },
};

function decide(effect, ...rules) {
  return { effect, rules, errors: [] };
}
