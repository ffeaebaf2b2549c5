import cluster from 'node:cluster';
import { fileURLToPath } from 'node:url';
import { NestFactory } from '@nestjs/core';
import type { NestExpressApplication } from '@nestjs/platform-express';
import session from 'express-session';
import passport from 'passport';
import { AppModule } from './app.module.js';
import { sessionStore } from './session-store.js';

async function serve(): Promise<void> {
  const app = await NestFactory.create<NestExpressApplication>(AppModule, { logger: ['error', 'warn'] });
  app.setBaseViewsDir(fileURLToPath(new URL('../views', import.meta.url)));
  app.setViewEngine('hbs');
  app.use(
    session({
      store: await sessionStore(),
      // Fixed, so that a restart keeps the sessions. An application would read it from its configuration.
      secret: 'a secret of the benchmark',
      resave: false,
      saveUninitialized: false,
    }),
  );
  app.use(passport.initialize());
  app.use(passport.session());
  await app.listen(Number(process.env.PORT), '127.0.0.1');
}

if (cluster.isPrimary) {
  for (let worker = 0; worker < 2; worker += 1) {
    cluster.fork();
  }
  cluster.on('exit', () => process.exit(1));
} else {
  await serve();
}
