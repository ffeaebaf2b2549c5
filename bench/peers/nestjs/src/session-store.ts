import connectPgSimple from 'connect-pg-simple';
import { RedisStore } from 'connect-redis';
import session from 'express-session';
import { createClient } from 'redis';
import { pool } from './database.js';

/** The store that STORE names: pg, which is the default, or redis. */
export async function sessionStore(): Promise<session.Store> {
  switch (process.env.STORE ?? 'pg') {
    case 'pg':
      return new (connectPgSimple(session))({ pool });
    case 'redis': {
      const client = createClient({ url: process.env.REDIS_URL });
      client.on('error', (error) => console.error(error));
      await client.connect();
      return new RedisStore({ client });
    }
    default:
      throw new Error('STORE is pg or redis.');
  }
}
