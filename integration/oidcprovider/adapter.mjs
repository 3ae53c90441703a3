// Storage of the engine's artifacts in memory, for the life of the process.
//
// The engine brings one of its own, which holds a thousand entries and then
// forgets the oldest; a test that signs in often would lose its sessions.

// A consumed refresh token stays usable for this long at Logto, so that
// parallel requests of one application do not end its session.
const LOGTO_REFRESH_TOKEN_GRACE_MS = 3000;

const key = (model, id) => `${model}:${id}`;

/**
 * Returns an adapter factory. With strictReuseDetection, a refresh token is
 * dead the moment it was used; otherwise it has the grace that Logto gives it.
 */
export function memoryAdapter({ strictReuseDetection }) {
  const artifacts = new Map();
  const consumedAt = new Map();

  const isGraced = (model, id) => !strictReuseDetection
    && model === 'RefreshToken'
    && Date.now() - consumedAt.get(key(model, id)) < LOGTO_REFRESH_TOKEN_GRACE_MS;

  const drop = (artifact) => {
    artifacts.delete(artifact);
    consumedAt.delete(artifact);
  };

  return (model) => ({
    async upsert(id, payload) {
      artifacts.set(key(model, id), structuredClone(payload));
    },

    async find(id) {
      const payload = artifacts.get(key(model, id));
      if (payload === undefined) {
        return undefined;
      }
      const found = structuredClone(payload);
      if (found.consumed && isGraced(model, id)) {
        delete found.consumed;
      }
      return found;
    },

    // Logto expects one artifact and deletes all if there are several. Two requests that change
    // the ID of a session at the same time leave several.
    async findByUid(uid) {
      const found = [...artifacts].filter(([artifact, payload]) => (
        artifact.startsWith(`${model}:`) && payload.uid === uid
      ));
      if (found.length > 1) {
        found.forEach(([artifact]) => drop(artifact));
      }
      return found.length === 1 ? structuredClone(found[0][1]) : undefined;
    },

    async consume(id) {
      artifacts.get(key(model, id)).consumed = Math.floor(Date.now() / 1000);
      consumedAt.set(key(model, id), Date.now());
    },

    async destroy(id) {
      drop(key(model, id));
    },

    async revokeByGrantId(grantId) {
      for (const [artifact, payload] of artifacts) {
        if (artifact.startsWith(`${model}:`) && payload.grantId === grantId) {
          drop(artifact);
        }
      }
    },
  });
}
